#include "app/tool/tool_world.h"

namespace corelet::app {

Result<std::unique_ptr<os::Host>> make_tool_world() {
    os::HostOptions options;
    options.loop.engine = os::Engine::kEpoll;  // starts faster than a ring, and a command does little
    options.log.level = LogLevel::kError;
    return os::Host::create(options);
}

}  // namespace corelet::app
