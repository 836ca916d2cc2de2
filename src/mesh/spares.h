// Spares: corelets with a device that hold nothing until one that stores is lost for good.
#pragma once

#include "mesh/map.h"

namespace corelet::mesh {

// Which spare should take the part of `lost`: one that is up and has a device of the same class; the nearest
// (chassis, rack, zone), then the one whose capacity is closest from above, or else the largest; then the lowest
// id. Null: none.
[[nodiscard]] const Corelet* choose_spare(const Map& map, const Corelet& lost);

// That spare becomes storage, in all places of `lost` in current tables, so that what moves is what was lost and
// nothing else. False: there is none, and nothing has changed.
[[nodiscard]] bool call_spare(Map& map, const Corelet& lost);

}  // namespace corelet::mesh
