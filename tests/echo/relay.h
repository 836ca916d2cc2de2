// Stands between two corelets and passes bytes on, until it is told to cut: then nothing passes, and nobody is
// told.
#pragma once

#include "rt/env.h"
#include "rt/sync.h"

namespace corelet::echo {

struct RelayState {
    bool cut = false;
    Notify mended;
    void mend() {
        cut = false;
        mended.notify_all();
    }
};
[[nodiscard]] Task<void> relay(Env& env, Address from, Address to, RelayState* state);

}  // namespace corelet::echo
