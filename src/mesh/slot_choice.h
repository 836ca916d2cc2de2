// Which slots a volume's new chunks should go to.
#pragma once

#include <set>
#include <vector>

#include "mesh/map.h"

namespace corelet::mesh {

// By slot of the pool's current table: true for those to be chosen; true for one at least. Those whose members all
// take puts, while there are such; of these, those whose members all take new data; of these the ones with the
// fewest members of `avoided`; of these, with a strategy that prefers the owner, those nearest to `owner`: it is a
// member itself, or one in its chassis, rack, zone is.
[[nodiscard]] std::vector<bool> choice_of_slots(const Map& map, const Pool& pool, CoreletId owner,
                                                const std::set<CoreletId>& avoided = {});

}  // namespace corelet::mesh
