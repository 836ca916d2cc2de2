// The option --listen.
#pragma once

#include <string>

#include "base/result.h"
#include "rt/network.h"

namespace corelet::app {

// Said now, not at the first start. The address is also what the others are told: one that means "all of mine"
// would lead them to themselves.
[[nodiscard]] Result<Address> parse_listen(const std::string& text, bool insecure);

}  // namespace corelet::app
