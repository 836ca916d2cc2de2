// The clocks of Linux. Each call of now() reads the clock (in user space, some 20 ns): lease checks need the
// present time, not that of the loop's last turn.
#pragma once

#include "rt/clock.h"

namespace corelet::os {

// CLOCK_MONOTONIC, for measuring short waits.
[[nodiscard]] i64 awake_ns();

// A wake-up is what an idle mesh costs, so timers that are far away meet at round instants: one that is 100 ms away
// or more fires up to 25 ms later, one that is 250 ms away up to 100 ms. Who waits for a time has to bear more in
// any case: a busy machine makes it longer. The instants are those of the host, so that several corelets of it
// share them.
[[nodiscard]] Instant slackened(Instant when, Instant now);

class LinuxClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override;
    [[nodiscard]] WallTime wall_now() const override;

    // For the loop. How long until the earliest timer is due: zero if one is, k_forever without any.
    [[nodiscard]] Duration until_next() const;
    usize fire_due();

  private:
    [[nodiscard]] Instant settled(Instant when) const override { return slackened(when, now()); }
    void insert_timer(Timer& timer) override { timers_.insert(timer); }
    void remove_timer(Timer& timer) override { timers_.remove(timer); }
    TimerHeap timers_;
};

}  // namespace corelet::os
