// Who votes in the catalog: how many, which ones, and the next single step from the present voters to better ones.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "mesh/map.h"

namespace corelet::mesh {

inline constexpr usize k_voters_max = 7;

// The largest odd number up to: corelets with media that are neither out nor to leave; 2 x max(2, largest promise
// of a pool) + 1; 7.
[[nodiscard]] usize voters_wanted(const Map& map);

struct VoterChange {
    enum class Kind : u8 { kAdd, kRemove };
    Kind kind = Kind::kAdd;
    CoreletId id;
    friend bool operator==(const VoterChange&, const VoterChange&) = default;
};

// One membership change at a time (learner, promote, remove; protocols 11), or nothing if the voters are as they
// should be. Lost voters (out, failing, gone from the map) are replaced, the new one added before the lost one is
// removed. Witnesses are taken first, then for spread over zones, racks, chassis; a better spread is worth an
// exchange, equal ones are left. Never below three by itself where the mesh, with those that are out, has three
// with media. Only corelets that are up are added.
[[nodiscard]] std::optional<VoterChange> next_voter_change(const Map& map, std::span<const CoreletId> voters);

}  // namespace corelet::mesh
