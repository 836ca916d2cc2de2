// What is in a folder of bays now: files, block devices, and links to either.
#pragma once

#include <optional>

#include "app/tool/bay_core.h"

namespace corelet::app {

inline constexpr usize k_bays_max = 256;

// Names that begin with a dot are not looked at: who brings a file writes it under such a name and renames it. A
// link whose end is gone is an empty bay. At most k_bays_max, in the order of their names.
[[nodiscard]] std::map<std::string, BaySeen> survey_bays(const std::string& folder);
// Of what a path leads to; nothing if to nothing.
[[nodiscard]] std::optional<BaySeen> look_at_entry(const std::string& path);
// Whether that process has that device open.
[[nodiscard]] bool has_open(int pid, const DeviceMark& device);

}  // namespace corelet::app
