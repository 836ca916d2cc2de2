// The repair threshold of a pool (PoolSpec::repair_threshold): a slot of which no more than so many members are up
// does not wait until those that are down are out.
//
// Others take the places of the members that are down in those rows, and nobody else moves. Who is down keeps its
// name and all other places; when it is back, tables are balanced as after any return, and what it still holds by a
// former table is read, and handed on.
#pragma once

#include "mesh/map.h"

namespace corelet::mesh {

// Members that are down, but with no more than `repair_threshold` up.
[[nodiscard]] bool is_thin(const Map& map, const Pool& pool, u32 slot);
// Some slot is, and somebody could take a place there.
[[nodiscard]] bool has_thin_rows(const Map& map, const Pool& pool);
// A new current table; false: there is nothing to be gained. `map` has its next epoch.
[[nodiscard]] bool fill_thin_rows(Map& map, Pool& pool);

}  // namespace corelet::mesh
