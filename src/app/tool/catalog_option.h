// --catalog, checked before anything is made: a mesh whose catalog cannot be reached would never begin.
#pragma once

#include <string>

#include "base/result.h"

namespace corelet::app {

// Empty: the mesh keeps its own, and there is nothing to check. kInvalid, kDenied: as parse_outside_catalog() says;
// or `witness`, which there would be nothing to do for. kUnavailable: nobody answers there.
[[nodiscard]] Result<void> check_catalog(const std::string& catalog, bool insecure, bool witness);

}  // namespace corelet::app
