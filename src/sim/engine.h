// What every part of a simulated world shares: the queue, the trace, the counters, and the first failure.
#pragma once

#include <string>

#include "base/prng.h"
#include "sim/event_queue.h"
#include "sim/stats.h"
#include "sim/trace.h"

namespace corelet::sim {

struct Engine {
    explicit Engine(u64 world_seed) : seed(world_seed), prng(world_seed) {}
    u64 const seed;
    Prng const prng;  // streams are forked from it by name, it never draws itself
    EventQueue queue;
    Trace trace{queue};
    Stats stats;
    std::string failure;  // the first one; the run stops there

    [[nodiscard]] VirtualTime now() const { return queue.now(); }
    void fail(std::string reason) {
        if (failure.empty()) failure = std::move(reason);
    }
};

}  // namespace corelet::sim
