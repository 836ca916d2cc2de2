// What three echo corelets live through, and what must hold: numbers are given once, pairs that are connected get
// answers, pairs that are cut do not.
#pragma once

#include "corelet.h"
#include "habitat.h"

namespace corelet::echo {

struct StoryOptions {
    usize crashes = 6;
    u64 seed = 1;
    bool forgetful = false;
};
// kCorrupt: a promise was broken; kTimeout: no progress.
[[nodiscard]] Result<void> run_story(Habitat& habitat, StoryOptions options, Ledger& ledger);

}  // namespace corelet::echo
