// Where in the catalog which record lies; docs/format/catalog.md.
#pragma once

#include <string>

#include "base/types.h"

namespace corelet {

inline constexpr const char* k_space_counter_key = "counters/space";
// Of a corelet that was removed from the mesh.
[[nodiscard]] inline std::string removed_key(CoreletId id) {
    return "removed/" + to_string(id);
}

}  // namespace corelet
