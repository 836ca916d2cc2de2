// What a keeper does with one bay's device: looks, initialises, and makes the directory fit that its corelet is
// served from.
#pragma once

#include "app/tool/bay_config.h"
#include "app/tool/bay_probe.h"

namespace corelet::app {

// Where a bay is, and what belongs to it.
struct BayPlace {
    std::string keeper;  // the keeper's directory
    std::string bay;
    std::string host;
    BayConfig config;
    [[nodiscard]] std::string directory() const { return keeper + "/" + bay; }
    [[nodiscard]] std::string device() const { return config.bays + "/" + bay; }
};

// Of a device that holds a corelet of the mesh, the directory is made to fit. A process that serves the directory
// without having this device open is killed: its own device is gone.
[[nodiscard]] Task<BayFinding> look_at_bay(Env* env, BayPlace place);
// Formats a device that is blank, once more looked at under the same lock, as a new corelet of the mesh.
[[nodiscard]] Task<Result<void>> make_bay(Env* env, BayPlace place);

}  // namespace corelet::app
