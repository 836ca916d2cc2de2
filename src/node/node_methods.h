// Methods that a corelet as a whole answers.
#pragma once

#include "wire/rpc.h"

namespace corelet::node_method {
// What mesh it is, its map, the voters: for newcomers, and for who has an older map.
inline constexpr Method k_introduce{0x0901};
inline constexpr Method k_admin{0x0902};
inline constexpr Method k_health{0x0903};
// The mesh's key for a join token, which whoever asks proves to have.
inline constexpr Method k_redeem{0x0904};
// What its map has beyond the asker's.
inline constexpr Method k_fetch_map{0x0905};
}  // namespace corelet::node_method

namespace corelet::mesh_method {
// Retired: gossip went as calls before it went as datagrams.
inline constexpr Method k_heartbeat{0x0101};
}  // namespace corelet::mesh_method
