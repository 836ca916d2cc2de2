// What status says of healing: of one corelet, and of the mesh.
#pragma once

#include "base/json_forward.h"
#include "node/mesh_view.h"
#include "node/node_services.h"

namespace corelet {

// Of this corelet alone, without asking anybody.
[[nodiscard]] Json own_healing(const NodeServices& node);
// Sums over the mesh; they heal side by side, so the last one is when it is done.
[[nodiscard]] Json mesh_healing(const NodeServices& node, const CoreletReports& reports);

}  // namespace corelet
