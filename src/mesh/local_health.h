// How far a corelet should distrust itself before others (Dadgar et al., "Lifeguard: Local Health Awareness for
// More Accurate Failure Detection", 2018). One that is slow, or badly connected, finds everybody late: its score
// rises, and all its patience with the others grows with it.
#pragma once

#include <algorithm>

#include "base/types.h"

namespace corelet::mesh {

class LocalHealth {
  public:
    static constexpr i64 k_score_max = 3;

    // Its own clockwork was late, or nobody answered when it asked for help. (That others miss it says less: the
    // one that does may be ill, and misses all.)
    void failed() { score_ = std::min(score_ + 1, k_score_max); }
    // A probe was answered in time.
    void succeeded() { score_ = std::max<i64>(score_ - 1, 0); }
    // By which waiting times are multiplied: 1 to 4.
    [[nodiscard]] i64 patience() const { return 1 + score_; }

  private:
    i64 score_ = 0;
};

}  // namespace corelet::mesh
