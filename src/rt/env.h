// The world as one corelet sees it: everything it may touch outside its own memory. src/os gives the real one,
// src/sim a simulated one; nothing above knows which.
#pragma once

#include <functional>

#include "base/prng.h"
#include "rt/clock.h"
#include "rt/disk.h"
#include "rt/executor.h"
#include "rt/log.h"
#include "rt/network.h"
#include "rt/scope.h"

namespace corelet {

// The only way to a second thread: blocking library calls and long computations.
class Spawn {
  public:
    virtual ~Spawn() = default;
    // Runs `work` elsewhere and returns when it is done. If the task is dropped meanwhile, the work still runs to
    // its end, so it owns all it touches.
    [[nodiscard]] virtual Task<void> offload(std::move_only_function<void()> work) = 0;
};

// References stay valid for the life of the corelet.
struct Env {
    Executor& executor;
    Clock& clock;
    Network& network;
    Disk& disk;
    Prng& random;
    Spawn& spawn;
    Log& log;
};

}  // namespace corelet
