// JSON as the whole house makes and reads it: nlohmann's. A heavy header, so only where that is done.
#pragma once

#include <nlohmann/json.hpp>

#include "base/json_forward.h"
