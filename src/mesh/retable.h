// New tables for a map that is being changed, and the end of old ones.
#pragma once

#include "mesh/map.h"

namespace corelet::mesh {

// Asks every pool's strategy for the table that the corelets of `map` call for; see transition.h.
void retable(Map& map);
// The same for one pool; `substitute` (or null) stands for its current table as what is to be kept.
void retable_pool(Map& map, Pool& pool, const TablePtr& substitute);
// Drops the tables of a pool that nobody needs any more. True if any went.
bool retire_tables(const Map& map, Pool& pool);

}  // namespace corelet::mesh
