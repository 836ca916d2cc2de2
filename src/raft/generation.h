// A group that was begun anew from what was left of another, when a majority of that one's voters is gone for good.
//
// The generation lies in the upper bits of the term. So whoever hears of a later one leaves the former for ever, by
// Raft's own rule; and a member whose log ends in an earlier generation than its term has been in neither: it does
// not vote and does not lead until a leader of the present one has sent it the log (election.cc). The new group's
// log begins far beyond every index of the former: no entry of the one is ever taken for one of the other.
#pragma once

#include "base/result.h"
#include "raft/effects.h"

namespace corelet::raft {

inline constexpr unsigned k_generation_bits = 40;  // of a term lie below it: elections within one generation
inline constexpr u64 k_generations_max = u64{1} << (64 - k_generation_bits - 1);
inline constexpr Index k_generation_gap = Index{1} << 32;

[[nodiscard]] constexpr u64 generation_of(Term term) {
    return term.v >> k_generation_bits;
}

// What the only voter of the new group starts from. `beyond`: the furthest term and the furthest index that anybody
// who is left knows of. kInvalid: there were too many generations.
[[nodiscard]] Result<Restored> begin_generation(CoreletId only, Position beyond, Payload state);

}  // namespace corelet::raft
