// The keeper of a folder of bays: watches it, and starts and ends a corelet of its own process for each device.
//
// It holds no data and is needed by nobody who runs: corelets go on without it, and the next keeper takes over
// those that it finds running.
#pragma once

#include <string>
#include <vector>

#include "app/tool/bay_config.h"
#include "rt/log.h"

namespace corelet::app {

struct KeeperOptions {
    std::string directory;  // absolute; with bays.json and the mesh's key
    bool log_to_file = false;
    LogLevel log_level = LogLevel::kInfo;
    std::vector<std::string> serve_options;  // of each corelet that it starts
};
// Returns after SIGTERM or SIGINT, its corelets ended; errors are those of starting. kConflict: another keeper runs
// there.
[[nodiscard]] Result<void> keep_bays(const KeeperOptions& options);

// Whether one runs there.
[[nodiscard]] bool keeper_runs(const std::string& directory);

// This machine's, as a part of a location.
[[nodiscard]] std::string host_name();

}  // namespace corelet::app
