// What a voter has promised as of a batch of its journal, in a few bytes: kept with the batch's identifier, in a
// second place, so that it is known even where the batch itself has rotted (protocols 10.3, 11).
#pragma once

#include "base/result.h"
#include "raft/effects.h"

namespace corelet::raft {

struct Promise {
    Term term;
    CoreletId vote;
    Position last;          // where the log ends
    Position repairing;     // as in HardState
    Index voided_from = 0;  // entries from here on, stored before, are void with this batch; 0: none
    friend bool operator==(const Promise&, const Promise&) = default;
};

[[nodiscard]] std::vector<u8> encode_promise(const Promise& promise);
// Nothing if it is no promise.
[[nodiscard]] std::optional<Promise> decode_promise(Bytes bytes);

// What a voter may start from whose journal has rotted: `readable` is the fold of the batches before the rot,
// `promise` that of the last batch promised, `missing` how many batches there are between them and with it. Only
// what certainly was in the log at the end is kept; the rest is marked rotten, for the core to get from the others.
// kForgotten where the two contradict each other.
[[nodiscard]] Result<Restored> restored_from_rot(Restored readable, const Promise& promise, u64 missing);

}  // namespace corelet::raft
