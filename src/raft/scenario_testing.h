// Shorthand for scenarios.
#pragma once

#include "raft/cluster_testing.h"

namespace corelet::raft::testing {

inline constexpr CoreletId k_1{1}, k_2{2}, k_3{3}, k_4{4}, k_5{5};

// Media of a voter among 1..n whose log has entries of these terms after the founding one.
[[nodiscard]] inline Restored with_log(usize n, const std::vector<u64>& terms, u64 term) {
    Configuration founders;
    for (u64 id = 1; id <= n; ++id) founders.voters.emplace_back(id);
    Restored media = bootstrap(founders);
    for (u64 t : terms) {
        Index const index = media.entries.size() + 1;
        Payload const data("command " + std::to_string(index) + " of term " + std::to_string(t));
        media.entries.push_back(make_entry({Term(t), index}, EntryKind::kCommand, data));
    }
    media.hard_state.term = Term(term);
    return media;
}
// The last `missing` entries have rotted.
[[nodiscard]] inline Restored rotten(Restored media, usize missing) {
    media.rotten = media.entries.back().at;
    media.entries.resize(media.entries.size() - missing);
    return media;
}
template <class Kind>
[[nodiscard]] bool is(const Message& message) {
    return std::holds_alternative<Kind>(message.body);
}

}  // namespace corelet::raft::testing
