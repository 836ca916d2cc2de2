// A lab's bays: devices are put in and pulled out while it runs. A keeper (serve --bays) in the lab's directory
// does the rest; a member whose device is in a bay is served from the directory of its index as the others are.
#pragma once

#include "app/tool/lab_state.h"

namespace corelet::app {

// Where the member's device is, or would be.
[[nodiscard]] std::string device_of(const Lab& lab, const LabMember& member);
[[nodiscard]] bool has_device(const Lab& lab, const LabMember& member);

// A blank device, or with `same` the one that was pulled out with `keep`, comes into the bay. A new index is a
// further member. Starts the keeper if none runs. kConflict: there is a device.
[[nodiscard]] Result<void> insert_device(Lab& lab, u32 index, bool same);
// The device goes, and its process with it, without a goodbye. kNotFound: there is none.
[[nodiscard]] Result<void> pull_device(const Lab& lab, u32 index, bool keep);

// Starts the keeper if any member's device is in a bay, and none runs.
[[nodiscard]] Result<void> start_lab_keeper(const Lab& lab);
// Ends it and the corelets that it keeps.
[[nodiscard]] Result<void> stop_lab_keeper(const Lab& lab);
// Its files, when all has ended.
void wipe_lab_bays(const Lab& lab);

}  // namespace corelet::app
