// The world of a command of the command line: one loop, quiet but for errors.
#pragma once

#include "os/world.h"

namespace corelet::app {

[[nodiscard]] Result<std::unique_ptr<os::Host>> make_tool_world();

}  // namespace corelet::app
