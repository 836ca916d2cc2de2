// Chunks that lack fragments, counted by who has the others: what status tells of them, and can_lose counts with.
#pragma once

#include <algorithm>
#include <vector>

#include "base/types.h"

namespace corelet {

// So many chunks with a fragment at each of these, and no more is known.
struct DegradedChunks {
    PoolId pool;
    std::vector<CoreletId> holders;  // ascending; who has several fragments may stand there as often
    u64 chunks = 0;
};

// Those nearest to being lost first, as they stood where equally many have them; at most `limit`.
[[nodiscard]] inline std::vector<DegradedChunks> fewest_holders_first(std::vector<DegradedChunks> rows,
                                                                      usize limit) {
    std::stable_sort(rows.begin(), rows.end(), [](const DegradedChunks& a, const DegradedChunks& b) {
        return a.holders.size() < b.holders.size();
    });
    if (rows.size() > limit) rows.resize(limit);
    return rows;
}

}  // namespace corelet
