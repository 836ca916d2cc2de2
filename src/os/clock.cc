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

Instant slackened(Instant when, Instant now) {
    constexpr Duration k_never = 1_min * 60 * 24;
    Duration const ahead = when - now;
    if (ahead < 100_ms || ahead > k_never) return when;
    // The finer grid holds the coarser one: so the instants are few.
    Duration const grid = ahead >= 250_ms ? 100_ms : 25_ms;
    return Instant{(when.ns + grid.ns - 1) / grid.ns * grid.ns};
}

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
