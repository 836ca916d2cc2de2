// Making a lab on the disk, and unmaking it. Nothing here runs.
#pragma once

#include "app/tool/lab_state.h"

namespace corelet::app {

// Devices are formatted beside each other. What was made is removed again if it fails. kExists: the directory is
// there and not empty.
[[nodiscard]] Result<Lab> make_lab(const LabPlan& plan);
// A fresh, empty device in the place of a member's: a new identity, which lab.json then names.
[[nodiscard]] Result<void> replace_member(Lab& lab, u32 index);
// Everything that make_lab made and the corelets put beside it; other people's files in the directory stay.
void wipe_lab(const Lab& lab);

}  // namespace corelet::app
