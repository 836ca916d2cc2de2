// Methods that a corelet as a whole answers.
#pragma once

#include "wire/rpc.h"

namespace corelet::node_method {
// What mesh it is, its map, the voters: for newcomers, and for who has an older map.
inline constexpr Method k_introduce{0x0901};
inline constexpr Method k_admin{0x0902};
}  // namespace corelet::node_method
