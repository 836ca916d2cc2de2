// The default scenario of corelet-sim: six corelets serve volumes to clients under every fault that their
// redundancy promises to survive.
#pragma once

#include "sim/scenario.h"

namespace corelet {

[[nodiscard]] sim::Scenario mesh_scenario();

}  // namespace corelet
