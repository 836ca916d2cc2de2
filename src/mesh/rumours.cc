#include "mesh/rumours.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace corelet::mesh {
namespace {

// Said again within so long it is the same word, come another way: its age is rounded, and the way takes time.
constexpr Duration k_same_word = 500_ms;

u32 spread(usize members) {
    return 3 * static_cast<u32>(std::bit_width(std::max<usize>(members, 1)));
}

}  // namespace

bool Rumours::hear(const Observation& word, Instant said, Instant now, usize members) {
    CORELET_ASSERT(!word.observer.is_zero() && !word.peer.is_zero());
    if (now - said >= k_life) return false;
    auto const known = std::find_if(kept_.begin(), kept_.end(), [&](const Kept& kept) {
        return kept.word.peer == word.peer && kept.word.observer == word.observer;
    });
    if (known != kept_.end()) {
        if (said - known->said < k_same_word) return false;
        *known = {word, said, spread(members)};
        return true;
    }
    if (kept_.size() == k_kept_max) {
        kept_.erase(std::min_element(kept_.begin(), kept_.end(),
                                     [](const Kept& a, const Kept& b) { return a.left < b.left; }));
    }
    kept_.push_back({word, said, spread(members)});
    return true;
}

// A word that has gone round is kept to its end, so that it is known when it comes back.
void Rumours::pass_on(usize room, Instant now, std::vector<Observation>& out) {
    std::erase_if(kept_, [&](const Kept& kept) { return now - kept.said >= k_life; });
    std::stable_sort(kept_.begin(), kept_.end(), [](const Kept& a, const Kept& b) { return a.left > b.left; });
    for (Kept& kept : kept_) {
        if (room == 0 || kept.left == 0) break;
        --room;
        --kept.left;
        out.push_back(kept.word);
        out.back().age_ms = static_cast<u32>(std::max<i64>((now - kept.said).ms(), 0));
    }
}

}  // namespace corelet::mesh
