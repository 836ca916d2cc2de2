// Placement strategies: pure functions from who is there to a slot table.
//
// Every corelet, and every version, must draw the same table from the same input, so there is no floating point, no
// standard shuffle and no hash of the library in here; golden vectors pin each strategy.
#pragma once

#include <array>
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
    std::array<u8, k_level_count> caps{};  // the same for any level, if not 0; at `level` in place of the promise
    std::vector<Candidate> candidates;     // ascending by id, at most 4,096
    const SlotTable* previous = nullptr;   // null, or of another width: from scratch
    bool fill_only = false;  // only fill what the previous table's lost members left; move nothing else
    u64 seed = 0;            // the pool's
};

struct Placement {
    std::vector<CoreletId> cells;  // slots x width; nobody where too few corelets are left
    u32 domain_cap = 0;  // fragments of one slot that may lie in one domain: promise, or more with few domains
};

struct Strategy {
    std::string_view name;
    std::string_view summary;  // for people
    Placement (*place)(const PlacementRequest& request);
    u8 locality = 0;             // of its pools, where nobody says: 2^locality neighbouring chunks share a slot
    bool prefers_owner = false;  // chunks go to slots near their volume's owner, while there are such
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
// The same with shares by `weights`, one a candidate, each at most k_weight_max, in place of its own.
[[nodiscard]] Placement place_by_weights(const PlacementRequest& request, std::span<const u32> weights);

// Each zone gets the same share, however much it holds, and within a zone it goes by weight: a row lies as evenly
// over the zones as can be, so the loss of a whole zone takes as little of it as possible. The price: the smallest
// zone is full first.
[[nodiscard]] Placement place_zone_aware(const PlacementRequest& request);

// By lot: each row is drawn by weighted rendezvous hashing (Thaler, Ravishankar 1998; with weights as in Weil et
// al., "CRUSH", straw2), within the caps. Shares are right on average only. Newcomers win their places by the same
// lots; nobody else moves.
[[nodiscard]] Placement place_random(const PlacementRequest& request);

}  // namespace corelet::mesh
