// Making a corelet: its directory, its device, its configuration.
#pragma once

#include "app/tool/corelet_directory.h"
#include "app/tool/device.h"

namespace corelet::app {

struct NewCorelet {
    std::string directory;
    DeviceArgument device;
    CoreletConfig config;  // `corelet` and `device` are filled in here
    bool force = false;
};
// Nothing is left behind if it fails. kExists: the directory is a corelet's already, or the device is formatted.
// What make_corelet() would refuse for what lies in the directory.
[[nodiscard]] Result<void> check_makeable(const NewCorelet& wanted);
[[nodiscard]] Task<Result<CoreletConfig>> make_corelet(Env& env, NewCorelet wanted);

}  // namespace corelet::app
