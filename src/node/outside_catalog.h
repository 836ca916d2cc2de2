// How one names a catalog that stands outside the mesh: `etcd:HOST:PORT[,HOST:PORT...]`.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "rt/network.h"

namespace corelet {

// The client addresses. kInvalid: no such name, with what one looks like. kDenied: one is beyond this host, where
// this version speaks in the clear, and that is not allowed by `insecure`.
[[nodiscard]] Result<std::vector<Address>> parse_outside_catalog(std::string_view text, bool insecure);

}  // namespace corelet
