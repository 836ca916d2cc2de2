// Placement strategies: pure functions from who is there to a slot table.
//
// Every corelet, and every version, must draw the same table from the same input, so there is no floating point, no
// standard shuffle and no hash of the library in here; golden vectors pin each strategy.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "base/types.h"
#include "mesh/location.h"
#include "mesh/slot_table.h"

namespace corelet::mesh {

inline constexpr u32 k_weight_max = 1U << 24;

// What a table may do with a corelet.
enum class Standing : u8 {
    kOpen,   // holds its share
    kHold,   // down: keeps the places it has, gets no more
    kLeave,  // draining, failing: leaves a place only for a replacement
};

struct Candidate {
    CoreletId id;
    u32 weight = 0;
    Standing standing = Standing::kOpen;
    Location location;
};

struct PlacementRequest {
    u32 slots = 0;       // power of two, not below the previous table's
    unsigned width = 0;  // k + m
    unsigned promise =
        0;  // m: at most so many fragments of a slot in one domain of `level`, while that is possible
    Level level = Level::kCorelet;
    std::vector<Candidate> candidates;    // ascending by id, at most 4,096
    const SlotTable* previous = nullptr;  // null, or of another width: from scratch
    bool fill_only = false;  // only fill what the previous table's lost members left; move nothing else
    u64 seed = 0;            // the pool's
};

struct Placement {
    std::vector<CoreletId> cells;  // slots x width; nobody where too few corelets are left
    u32 domain_cap = 0;  // fragments of one slot that may lie in one domain: promise, or more with few domains
};

struct Strategy {
    std::string_view name;
    Placement (*place)(const PlacementRequest& request);
};

[[nodiscard]] std::span<const Strategy> strategies();
// Null if there is none of that name.
[[nodiscard]] const Strategy* find_strategy(std::string_view name);

// The smallest cap, not below max(1, promise), under which a row of min(width, corelets) fits the domains. With
// equal domains that is ceil(width / domains), as soon as this exceeds the promise.
[[nodiscard]] u32 domain_cap(std::span<const u32> domain_sizes, unsigned width, unsigned promise);

// Keeps every place's position, shares by weight exactly (one slot of rounding), spreads over all levels of the
// location tree as evenly as the weights allow, and moves no more than what shares ask for.
[[nodiscard]] Placement place_balanced(const PlacementRequest& request);

}  // namespace corelet::mesh
