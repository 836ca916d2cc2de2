// Running a corelet in the foreground.
#pragma once

#include "app/tool/corelet_directory.h"

namespace corelet::app {

struct ServeOptions {
    std::string directory;  // absolute
    bool log_to_file = false;
    LogLevel log_level = LogLevel::kInfo;
    std::vector<Address> discovery;  // the multicast groups where it answers
};
// Returns after SIGTERM or SIGINT, volumes handed over; errors are those of starting.
[[nodiscard]] Result<void> serve(const ServeOptions& options);

}  // namespace corelet::app
