// What is committed (Raft 5.4.2).
#include "base/assert.h"
#include "raft/core.h"

namespace corelet::raft {

bool Core::own_term_committed() const {
    CORELET_ASSERT(role_ == Role::kLeader && term_start_ > 0);
    return hard_.commit >= term_start_;
}

// Only an entry of the current term is committed by counting; those before it are with it (Figure 8).
void Core::advance_commit() {
    if (role_ != Role::kLeader) return;
    Index const agreed = quorum_value(log_.durable(), [](const Progress& peer) { return peer.match(); });
    if (agreed <= hard_.commit || log_.term_at(agreed) != hard_.term) return;
    CORELET_ASSERT(agreed >= term_start_);
    commit_to(agreed);
}

void Core::commit_to(Index index) {
    CORELET_ASSERT(index > hard_.commit && index <= log_.last().index);
    Index const before = std::exchange(hard_.commit, index);
    if (role_ != Role::kLeader) return;
    for (Index i = before + 1; i <= index; ++i) {
        usize const bytes = log_.entry_at(i).bytes();
        CORELET_ASSERT(bytes <= uncommitted_bytes_);
        uncommitted_bytes_ -= bytes;
    }
    Index const changed_at = configurations_.current_index();
    if (changed_at > before && changed_at <= index) configuration_now_committed();
}

}  // namespace corelet::raft
