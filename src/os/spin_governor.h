// Whether to stay awake for the next event instead of sleeping. Waking a sleeping thread on another core of a
// virtual machine costs some 35 us of processor time a side; staying awake costs what it lasts, and keeps others
// from the core. So it is done only as long as it succeeds, and tried again ever more rarely while it does not: an
// idle process just sleeps.
#pragma once

#include <algorithm>

#include "base/time.h"

namespace corelet::os {

class SpinGovernor {
  public:
    explicit SpinGovernor(Duration limit) : limit_(limit) {}
    // How long to stay awake this time, at most.
    [[nodiscard]] Duration next() {
        if (limit_.ns == 0 || (score_ == 0 && --waits_until_probe_ > 0)) return Duration{0};
        return limit_;
    }
    // What became of it: an event came in time or it was in vain.
    void spun(bool in_time) {
        if (in_time) {
            score_ = std::min(score_ + k_hit, k_score_max);
            probe_interval_ = k_probe_interval_min;
            return;
        }
        score_ = std::max(score_ - k_miss, 0);
        if (score_ > 0) return;
        waits_until_probe_ = probe_interval_;
        probe_interval_ = std::min(probe_interval_ * 2, k_probe_interval_max);
    }

  private:
    // A miss costs more than a hit gains: two of three must succeed.
    static constexpr int k_hit = 1;
    static constexpr int k_miss = 2;
    static constexpr int k_score_max = 16;
    static constexpr int k_probe_interval_min = 32;
    static constexpr int k_probe_interval_max = 4096;
    Duration limit_;
    int score_ = 0;
    int waits_until_probe_ = k_probe_interval_min;
    int probe_interval_ = k_probe_interval_min;
};

}  // namespace corelet::os
