#include "raft/generation.h"

#include "raft/configuration.h"

namespace corelet::raft {

Result<Restored> begin_generation(CoreletId only, Position beyond, Payload state) {
    u64 const generation = generation_of(beyond.term) + 1;
    if (generation >= k_generations_max || beyond.index > ~Index{0} - 2 * k_generation_gap)
        return fail(Code::kInvalid, "the log of this group cannot be begun anew any more");
    Configuration alone;
    alone.voters = {only};
    Position const start{Term(generation << k_generation_bits), beyond.index + k_generation_gap};
    Restored out;
    out.hard_state.term = start.term;
    out.hard_state.commit = start.index;
    out.snapshot = make_snapshot(start, std::move(alone), std::move(state));
    return out;
}

}  // namespace corelet::raft
