// Pools, as the command line makes, changes and removes them. Errors say what, why and the next command.
#pragma once

#include "base/json.h"
#include "node/node_services.h"

namespace corelet {

// What admin_arguments.h calls a pool's wish: {"name", "promise", "can_lose", "limited_by", "survives"}.
[[nodiscard]] Task<Result<Json>> pool_create(NodeServices& node, Json arguments);
// {"name", and what is to change}: the same, and "moves": data move by it. kNotFound: there is no such pool.
[[nodiscard]] Task<Result<Json>> pool_change(NodeServices& node, Json arguments);
// {"name"}. kConflict: a volume lies in it.
[[nodiscard]] Task<Result<Json>> pool_remove(NodeServices& node, Json arguments);

}  // namespace corelet
