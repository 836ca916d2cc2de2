// Whether a mesh can do without one of its corelets, by the map alone.
#pragma once

#include "mesh/map.h"

namespace corelet::mesh {

// Without it every pool still has corelets enough for its width, so that what it holds finds another place.
// kInvalid: which pool has not, and what would do. kNotFound: it is not in the map.
[[nodiscard]] Result<> check_departure(const Map& map, CoreletId leaving);

// Pools whose new chunks go there although it is cordoned or leaves: none of their slots does without it.
[[nodiscard]] std::vector<std::string> pools_bound_to(const Map& map, CoreletId id);

}  // namespace corelet::mesh
