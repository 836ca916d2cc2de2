// The name of a JSON value, for headers that only hand one on.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace corelet {

using Json = nlohmann::json;

}  // namespace corelet
