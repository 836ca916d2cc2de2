// Outgoing connections.
#pragma once

#include "os/loop.h"
#include "rt/network.h"

namespace corelet::os {

// See Network::connect. Tries all addresses of a host name in turn.
[[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connect_stream(Loop* loop, Address address);

}  // namespace corelet::os
