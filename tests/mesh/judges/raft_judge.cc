// Raft's invariants over the live nodes of a mesh: one leader a term, one vote of an identity a term, one entry at
// each committed index, and at each leader everything committed before its term.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class RaftJudge final : public Judge {
  public:
    explicit RaftJudge(Trial& trial) : Judge(trial, "raft"), seen_(trial.mesh.size()) {}

    void after_turn(usize index) override {
        if (mesh().node(index)) look_at(index);
    }
    void at_end() override { world().stats().count("voter.replaced", voters_replaced_); }

  private:
    struct Seen {
        u64 boot = 0;
        raft::Term term;
        raft::Term durable_term;
        CoreletId durable_vote;
        raft::Role role = raft::Role::kFollower;
        raft::Index commit = 0;
    };
    struct Committed {
        raft::Term term;
        u32 crc = 0;
        raft::Term seen_in;
    };

    void look_at(usize index) {
        const raft::Core& core = mesh().node(index)->services().raft->core();
        Seen& seen = seen_[index];
        u64 const boot = mesh().machine(index).boots();
        if (seen.boot != boot) seen = Seen{boot, {}, {}, {}, raft::Role::kFollower, 0};
        auto const& durable = core.durable();
        if (seen.durable_term != durable.term || seen.durable_vote != durable.vote) check_vote(core);
        bool const same = seen.term == core.term() && seen.role == core.role() && seen.commit == core.commit();
        if (!same && core.commit() < seen.commit) fail("a commit index went back at " + to_string(core.self()));
        if (core.commit() != seen.commit) check_commit(core, seen.commit);
        if (core.role() == raft::Role::kLeader && (seen.role != raft::Role::kLeader || seen.term != core.term()))
            check_leader(core);
        seen = Seen{boot, core.term(), durable.term, durable.vote, core.role(), core.commit()};
    }

    void check_vote(const raft::Core& core) {
        auto const& durable = core.durable();
        // A device that is as it was some time ago knows no better; it must not vote as if it did.
        auto const [highest, fresh] = terms_.try_emplace(core.self(), durable.term);
        if (durable.term < highest->second && !is_spoiled(core.self()))
            fail("the durable term of " + to_string(core.self()) + " went back");
        highest->second = std::max(highest->second, durable.term);
        if (durable.vote.is_zero()) return;
        auto const [vote, first] = votes_.try_emplace({core.self(), durable.term}, durable.vote);
        judged();
        if (vote->second != durable.vote)
            fail(to_string(core.self()) + " voted twice in term " + std::to_string(durable.term.v));
    }

    [[nodiscard]] bool is_spoiled(CoreletId id) const {
        auto const index = mesh().index_of(id);
        return index && trial().atlas.is_spoiled(*index);
    }

    void check_leader(const raft::Core& core) {
        auto const [leader, fresh] = leader_of_.try_emplace(core.term(), core.self());
        if (leader->second != core.self()) fail("two leaders in term " + std::to_string(core.term().v));
        judged();
        for (auto const& [index, committed] : committed_) {
            if (core.term() < committed.seen_in || index <= core.log().base().index) continue;
            if (core.log().term_at(index) != committed.term)
                fail("the leader of term " + std::to_string(core.term().v) + " lacks committed entry " +
                     std::to_string(index));
        }
    }

    void check_commit(const raft::Core& core, raft::Index from) {
        for (raft::Index index = std::max(from, core.log().base().index) + 1; index <= core.commit(); ++index) {
            const raft::Entry& entry = core.log().entry_at(index);
            auto const [known, fresh] =
                committed_.try_emplace(index, Committed{entry.at.term, entry.crc, core.term()});
            if (known->second.term != entry.at.term || known->second.crc != entry.crc)
                fail("two entries committed at " + std::to_string(index));
        }
        if (!core.configuration_committed() || core.commit() <= voters_at_) return;
        voters_at_ = core.commit();
        std::set<CoreletId> now(core.configuration().voters.begin(), core.configuration().voters.end());
        for (CoreletId id : voters_)
            if (!now.contains(id)) ++voters_replaced_;
        voters_ = std::move(now);
    }

    std::vector<Seen> seen_;
    std::map<raft::Term, CoreletId> leader_of_;
    std::map<CoreletId, raft::Term> terms_;
    std::map<std::pair<CoreletId, raft::Term>, CoreletId> votes_;
    std::map<raft::Index, Committed> committed_;
    std::set<CoreletId> voters_;
    raft::Index voters_at_ = 0;
    u64 voters_replaced_ = 0;
};

}  // namespace

std::unique_ptr<Judge> make_raft_judge(Trial& trial) {
    return std::make_unique<RaftJudge>(trial);
}

}  // namespace corelet
