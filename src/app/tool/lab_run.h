// The processes of a lab.
#pragma once

#include <functional>

#include "app/tool/lab_state.h"
#include "app/tool/process.h"
#include "base/json.h"

namespace corelet::app {

// Starts those of `indexes` that have a device and do not run; those in bays are their keeper's to start.
[[nodiscard]] Result<void> start_members(const Lab& lab, const std::vector<u32>& indexes);
// Waits until all members that have a device are up and health is `ok`; gives the status. An error says what is
// missing, and shows the last lines of the log of a member that died.
[[nodiscard]] Result<Json> wait_until_ok(const Lab& lab, Duration limit);
// Waits until the member's control socket answers.
[[nodiscard]] Result<void> wait_until_answering(const Lab& lab, u32 index, Duration limit);
// Waits until its process is gone (or is stopped).
[[nodiscard]] Result<void> wait_until_gone(const std::string& directory, Duration limit);
[[nodiscard]] Result<void> wait_until_keeper_gone(const std::string& directory, Duration limit);
[[nodiscard]] Result<void> wait_until_stopped(const std::string& directory, Duration limit);
// TERM to all, KILL to who is left.
[[nodiscard]] Result<void> stop_members(const Lab& lab);
// The same to the corelets of the directories that are chosen.
[[nodiscard]] Result<void> stop_corelets(const std::string& lab_directory,
                                         const std::function<bool(const std::string& directory)>& chosen);

}  // namespace corelet::app
