// The clocks of Linux. Each call of now() reads the clock (in user space, some 20 ns): lease checks need the
// present time, not that of the loop's last turn.
#pragma once

#include "rt/clock.h"

namespace corelet::os {

// CLOCK_MONOTONIC, for measuring short waits.
[[nodiscard]] i64 awake_ns();

class LinuxClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override;
    [[nodiscard]] WallTime wall_now() const override;

    // For the loop. How long until the earliest timer is due: zero if one is, k_forever without any.
    [[nodiscard]] Duration until_next() const;
    usize fire_due();

  private:
    void insert_timer(Timer& timer) override { timers_.insert(timer); }
    void remove_timer(Timer& timer) override { timers_.remove(timer); }
    TimerHeap timers_;
};

}  // namespace corelet::os
