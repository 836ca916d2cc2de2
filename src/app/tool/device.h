// Making a device ready for a corelet.
#pragma once

#include "device/store.h"
#include "rt/env.h"

namespace corelet::app {

// `PATH` or `PATH:SIZE`: an existing file or block device, or a new file of that size.
struct DeviceArgument {
    std::string path;    // absolute
    u64 size_bytes = 0;  // 0: not given
    bool must_be_blank = false;
};
[[nodiscard]] Result<DeviceArgument> parse_device(const std::string& text);

// Creates the file if it is missing, preallocated, and formats it; a file that could not be formatted and was made
// here is removed again. Errors name the device: kNotFound (missing and no size given), kExists (formatted
// already, or not blank), kNoSpace (too small, or the host's disk is full), kConflict (in use).
[[nodiscard]] Task<Result<void>> make_device(Env& env, DeviceArgument device, FormatOptions options);

}  // namespace corelet::app
