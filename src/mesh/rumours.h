// Suspicions on their way through the mesh: each goes along with a few messages, and dies out once most have it
// (piggybacked dissemination; Das et al., "SWIM", section 4.1).
#pragma once

#include <vector>

#include "base/time.h"
#include "mesh/gossip_message.h"

namespace corelet::mesh {

class Rumours {
  public:
    static constexpr usize k_kept_max = 64;           // beyond it the one that was passed on most goes
    static constexpr Duration k_life{4'000'000'000};  // older words are no news

    // `word` names its observer, who said it at `said`. It will be passed on some 3 log2(members) times. False: it
    // is known, or too old.
    bool hear(const Observation& word, Instant said, Instant now, usize members);
    // Adds at most `room` of them, those that were passed on least first.
    void pass_on(usize room, Instant now, std::vector<Observation>& out);
    [[nodiscard]] usize size() const { return kept_.size(); }

  private:
    struct Kept {
        Observation word;
        Instant said;
        u32 left = 0;  // times to be passed on
    };
    std::vector<Kept> kept_;
};

}  // namespace corelet::mesh
