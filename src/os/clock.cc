#include "os/clock.h"

#include <ctime>

namespace corelet::os {

namespace {
i64 read_clock(clockid_t id) {
    timespec t{};
    int const failed = ::clock_gettime(id, &t);
    CORELET_ASSERT(failed == 0, "the kernel has no such clock");
    return static_cast<i64>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}
}  // namespace

i64 awake_ns() {
    return read_clock(CLOCK_MONOTONIC);
}

// Counts suspend: a lease must not outlive a laptop's sleep or a paused virtual machine.
Instant LinuxClock::now() const {
    return {read_clock(CLOCK_BOOTTIME)};
}
WallTime LinuxClock::wall_now() const {
    return {read_clock(CLOCK_REALTIME)};
}

Duration LinuxClock::until_next() const {
    if (timers_.empty()) return k_forever;
    Duration const left = timers_.earliest() - now();
    return left.ns > 0 ? left : Duration{0};
}

usize LinuxClock::fire_due() {
    return timers_.empty() ? 0 : timers_.fire_due(now());
}

}  // namespace corelet::os
