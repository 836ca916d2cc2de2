// Which slow devices the mesh can do without: new segments and chunks go elsewhere while that costs no copy and no
// failure domain.
#pragma once

#include <set>

#include "mesh/map.h"

namespace corelet::mesh {

// Those of `slow` that are to be avoided, by id until no more can be spared. Without them each pool still finds,
// among the corelets that store, serve, are up and not in `absent`, one more than its log is wide (a standby avoids
// a replica that fails), and as many domains of its failure level, and zones, as with them, up to the log's width.
// An avoided device is none that is lost: what it holds stays, and counts.
[[nodiscard]] std::set<CoreletId> devices_to_avoid(const Map& map, const std::set<CoreletId>& slow,
                                                   const std::set<CoreletId>& absent);

}  // namespace corelet::mesh
