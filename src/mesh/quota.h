// How many places each corelet gets: shares by weight under caps (a corelet stands once in a slot, a domain a
// bounded number of times, and so does the one around it), filled like water: what a full one cannot take goes to
// the others by weight.
#pragma once

#include <vector>

#include "base/types.h"

namespace corelet::mesh {

// A domain within another one, or in none.
struct QuotaDomain {
    static constexpr u32 k_none = ~u32{0};
    u32 cap = 0;          // places of one slot in it
    u32 around = k_none;  // comes before it in the list
};

struct QuotaEntry {
    u64 weight = 0;      // at most 2^24
    u32 domain = 0;      // the innermost; k_none: it is in none
    u32 count = 0;       // places it has now: decides who gets the odd place, so that none moves for rounding
    bool fixed = false;  // keeps exactly `count`
};

struct QuotaRequest {
    u32 slots = 0;
    u64 total = 0;  // places to share out
    std::vector<QuotaDomain> domains;
    std::vector<QuotaEntry> entries;
    u64 seed = 0;
};

// One number an entry, each at most `slots`, each domain's sum at most its cap x slots (unless fixed ones exceed
// it), together `total` or as much as the caps allow. Without caps at work each is its exact share rounded down or
// up.
[[nodiscard]] std::vector<u32> share_out(const QuotaRequest& request);

}  // namespace corelet::mesh
