// How many places each corelet gets: shares by weight under two caps (a corelet stands once in a slot, a domain a
// bounded number of times), filled like water: what a full one cannot take goes to the others by weight.
#pragma once

#include <vector>

#include "base/types.h"

namespace corelet::mesh {

struct QuotaEntry {
    u64 weight = 0;      // at most 2^24
    u32 domain = 0;      // dense index
    u32 count = 0;       // places it has now: decides who gets the odd place, so that none moves for rounding
    bool fixed = false;  // keeps exactly `count`
};

struct QuotaRequest {
    u32 slots = 0;
    u64 total = 0;       // places to share out
    u32 domain_cap = 0;  // places of one slot in one domain
    std::vector<QuotaEntry> entries;
    u64 seed = 0;
};

// One number an entry, each at most `slots`, each domain's sum at most domain_cap x slots (unless fixed ones exceed
// it), together `total` or as much as the caps allow. Without caps at work each is its exact share rounded down or
// up.
[[nodiscard]] std::vector<u32> share_out(const QuotaRequest& request);

}  // namespace corelet::mesh
