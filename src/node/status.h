// What the mesh looks like, as one corelet can tell (docs/guide/status.md says what each field means).
#pragma once

#include "base/json_forward.h"
#include "base/result.h"
#include "node/node_services.h"

namespace corelet {

// Of this corelet alone, without asking anybody.
[[nodiscard]] Json node_info(NodeServices& node);
// Of the mesh: the map, and what each corelet that is up says of itself within half a second. Works without the
// catalog.
[[nodiscard]] Task<Result<Json>> mesh_status(NodeServices& node);
[[nodiscard]] Task<Result<Json>> volume_info(NodeServices& node, std::string name);

}  // namespace corelet
