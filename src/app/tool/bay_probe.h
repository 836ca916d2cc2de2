// What is on a device in a bay, before anybody touches it.
#pragma once

#include "app/tool/bay_core.h"
#include "device/store.h"
#include "rt/env.h"

namespace corelet::app {

// The beginning and the end, where file systems, partition tables, volume managers and Corelet put their marks, and
// samples of all between: only zeros. kIo: it does not read.
[[nodiscard]] Task<Result<bool>> is_blank(File* file);

struct DeviceReport {
    BayFinding finding;
    std::optional<DeviceLabel> label;  // with kMember
};
// Reads only, and holds the device's lock meanwhile.
[[nodiscard]] Task<DeviceReport> report_device(Env* env, std::string path, MeshId mesh);

}  // namespace corelet::app
