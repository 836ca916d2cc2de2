// Corelets as the JSON of commands names them: a list of their ids, 16 hex digits each.
#pragma once

#include <span>

#include "base/json.h"
#include "base/types.h"

namespace corelet {

[[nodiscard]] inline Json ids_json(std::span<const CoreletId> ids) {
    Json out = Json::array();
    for (CoreletId id : ids) out.push_back(to_string(id));
    return out;
}

}  // namespace corelet
