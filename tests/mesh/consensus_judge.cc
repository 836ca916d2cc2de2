#include "tests/mesh/consensus_judge.h"

namespace corelet {

void ConsensusJudge::look() {
    for (usize i = 0; i < mesh_.size(); ++i)
        if (mesh_.node(i)) look_at(i);
}

void ConsensusJudge::look_at(usize index) {
    const raft::Core& core = mesh_.node(index)->services().raft->core();
    Seen& seen = seen_[index];
    u64 const boot = mesh_.machine(index).boots();
    if (seen.boot != boot) seen = Seen{boot, {}, raft::Role::kFollower, 0};
    if (seen.term == core.term() && seen.role == core.role() && seen.commit == core.commit()) return;
    if (core.commit() < seen.commit) mesh_.world().fail("a commit index went back at " + to_string(core.self()));
    if (core.commit() != seen.commit) check_commit(core, seen.commit);
    if (core.role() == raft::Role::kLeader && (seen.role != raft::Role::kLeader || seen.term != core.term()))
        check_leader(core);
    seen = Seen{boot, core.term(), core.role(), core.commit()};
}

void ConsensusJudge::check_leader(const raft::Core& core) {
    auto const [leader, fresh] = leader_of_.try_emplace(core.term(), core.self());
    if (leader->second != core.self()) mesh_.world().fail("two leaders in term " + std::to_string(core.term().v));
    for (auto const& [index, committed] : committed_) {
        if (core.term() < committed.seen_in || index <= core.log().base().index) continue;
        if (core.log().term_at(index) != committed.term)
            mesh_.world().fail("the leader of term " + std::to_string(core.term().v) + " lacks committed entry " +
                               std::to_string(index));
    }
}

void ConsensusJudge::check_commit(const raft::Core& core, raft::Index from) {
    for (raft::Index index = std::max(from, core.log().base().index) + 1; index <= core.commit(); ++index) {
        const raft::Entry& entry = core.log().entry_at(index);
        auto const [known, fresh] = committed_.try_emplace(index, Committed{entry.at.term, entry.crc, core.term()});
        if (known->second.term != entry.at.term || known->second.crc != entry.crc)
            mesh_.world().fail("two entries committed at " + std::to_string(index));
    }
    if (!core.configuration_committed() || core.commit() <= voters_at_) return;
    voters_at_ = core.commit();
    std::set<CoreletId> now(core.configuration().voters.begin(), core.configuration().voters.end());
    for (CoreletId id : voters_)
        if (!now.contains(id)) ++voters_replaced_;
    voters_ = std::move(now);
}

}  // namespace corelet
