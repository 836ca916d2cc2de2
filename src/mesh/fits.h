// Whether a pool can be had on a mesh as it is, and if not, what would do.
#pragma once

#include <optional>

#include "mesh/map.h"

namespace corelet::mesh {

// kInvalid: too few corelets that store (of the pool's device class), or the loss of one domain of level `survive`
// would take more fragments of a slot than the pool can miss. The message says which ones would do.
[[nodiscard]] Result<> check_fits(const Map& map, const PoolSpec& spec, std::optional<Level> survive = {});

}  // namespace corelet::mesh
