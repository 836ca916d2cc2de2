#include "sim/clock.h"

#include "base/assert.h"

namespace corelet::sim {

namespace {
using i128 = __int128;
constexpr i64 k_wall_epoch_ns = 1'767'225'600'000'000'000;  // the world begins with the year 2026
}  // namespace

void ClockState::start(VirtualTime now, Instant local, i64 drift_ppm) {
    base_true_ = now;
    base_local_ = local;
    stopped_ = false;
    set_drift(now, drift_ppm);
}

void ClockState::set_drift(VirtualTime now, i64 ppm) {
    CORELET_ASSERT(ppm >= -k_drift_ppm_max && ppm <= k_drift_ppm_max);
    base_local_ = local(now);
    base_true_ = now;
    drift_ppm_ = ppm;
    drift_q32_ = static_cast<i64>((static_cast<i128>(ppm) << 32) / 1'000'000);
}

void ClockState::stop(VirtualTime now) {
    base_local_ = local(now);
    base_true_ = now;
    stopped_ = true;
}

void ClockState::go_on(VirtualTime now) {
    base_true_ = now;
    stopped_ = false;
}

Instant ClockState::local(VirtualTime now) const {
    if (stopped_) return base_local_;
    i64 const passed = (now - base_true_).ns;
    i64 const gained = static_cast<i64>((static_cast<i128>(passed) * drift_q32_) >> 32);
    return {base_local_.ns + passed + gained};
}

WallTime ClockState::wall(VirtualTime now) const {
    return {k_wall_epoch_ns + now.ns + wall_offset_.ns};
}

VirtualTime ClockState::true_time(Instant when) const {
    i64 const wanted = when.ns - base_local_.ns;
    i64 passed = static_cast<i64>((static_cast<i128>(wanted) << 32) / ((i128{1} << 32) + drift_q32_));
    // The division rounds either way: settle on the first nanosecond that shows it.
    while (local({base_true_.ns + passed}) < when) ++passed;
    while (local({base_true_.ns + passed - 1}) >= when) --passed;
    return {base_true_.ns + passed};
}

void SimClock::insert_timer(Timer& timer) {
    heap_.insert(timer);
    if (held_ || heap_.earliest() < timer.when()) return;
    // The far future stays out of the arithmetic of drift.
    constexpr i64 k_far_ns = i64{1} << 58;
    VirtualTime const due = timer.when().ns > k_far_ns ? VirtualTime{k_far_ns} : state_.true_time(timer.when());
    if (!is_scheduled() || due < when()) engine_.queue.schedule(*this, due);
}

// The event may be early, when the timer it was scheduled for has been disarmed; then it only looks for the next.
void SimClock::fire() {
    if (held_) return;
    usize const fired = heap_.fire_due(now());
    if (fired != 0) engine_.trace.record(TraceKind::kTimer, node_, fired);
    retime();
}

void SimClock::hold() {
    held_ = true;
    cancel();
}

void SimClock::release() {
    held_ = false;
    fire();
}

void SimClock::retime() {
    if (held_ || heap_.empty()) return;
    constexpr i64 k_far_ns = i64{1} << 58;
    Instant const next = heap_.earliest();
    if (next.ns <= k_far_ns) engine_.queue.schedule(*this, state_.true_time(next));
}

}  // namespace corelet::sim
