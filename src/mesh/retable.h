// New tables for a map that is being changed, and the end of old ones.
#pragma once

#include "mesh/map.h"

namespace corelet::mesh {

// Asks every pool's strategy for the table that the corelets of `map` call for; see transition.h.
void retable(Map& map);
// The same for one pool; `substitute` (or null) stands for its current table as what is to be kept.
void retable_pool(Map& map, Pool& pool, const TablePtr& substitute);
// The same, with `heir` in the places of `lost` in the current table, so that nothing else moves. A heir that the
// table names already has places of its own: it is an ordinary newcomer.
void inherit_places(Map& map, Pool& pool, CoreletId lost, CoreletId heir);
// The table in which what `previous` leaves empty is filled, and nobody else moves.
[[nodiscard]] TablePtr filled_table(const Map& map, const Pool& pool, const SlotTable& previous);
// Drops the tables of a pool that nobody needs any more. True if any went.
bool retire_tables(const Map& map, Pool& pool);

}  // namespace corelet::mesh
