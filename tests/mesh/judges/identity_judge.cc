// Identities (protocols 1). Whoever has lost what it had promised goes on as somebody else, within a bound; whom
// nothing befell but crashes stays who it is; and a voter that has just started asks the others before it votes.
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

constexpr Duration k_noticed_within = 30_s;
constexpr Duration k_asks_for = 1'500_ms;  // at least; a clock drifts by less than the rest of two seconds

class IdentityJudge final : public Judge {
  public:
    explicit IdentityJudge(Trial& trial) : Judge(trial, "identities"), seen_(trial.mesh.size()) {}

    void look() override {
        for (usize i = 0; i < mesh().size(); ++i) {
            auto const since = trial().atlas.must_notice_since(i);
            if (since && mesh().node(i) && world().now() - *since > k_noticed_within)
                fail(corelet_name(i) + " has lost what it had promised, and is who it was");
        }
    }

    void after_turn(usize index) override {
        if (!mesh().node(index)) return;
        Seen& seen = seen_[index];
        u64 const boot = mesh().machine(index).boots();
        auto const& votes = mesh().node(index)->services().raft->core().durable();
        if (seen.boot != boot) {
            look_whether_the_same(index);
            seen = Seen{boot, world().now(), votes.term, votes.vote, mesh().id(index), mesh().devices_had(index)};
        }
        if (seen.term == votes.term && seen.vote == votes.vote) return;
        look_at_vote(index, seen);
        seen.term = votes.term;
        seen.vote = votes.vote;
    }

  private:
    struct Seen {
        u64 boot = 0;
        sim::VirtualTime since;
        raft::Term term;
        CoreletId vote;
        CoreletId id;
        u64 device = 0;
    };

    void look_whether_the_same(usize index) {
        const Seen& before = seen_[index];
        if (before.id.is_zero() || before.device != mesh().devices_had(index)) return;
        judged();
        if (before.id != mesh().id(index) && !trial().atlas.was_damaged(index))
            fail(corelet_name(index) + " is somebody else since it was started, and only crashes had befallen it");
    }

    void look_at_vote(usize index, const Seen& seen) {
        RaftNode& raft = *mesh().node(index)->services().raft;
        bool const alone = raft.configuration().voters.size() == 1;
        if (alone || raft.core().durable().vote.is_zero() || world().now() - seen.since >= k_asks_for) return;
        fail(corelet_name(index) + " votes in term " + std::to_string(raft.term().v) +
             " as soon as it has started, without having asked whether others know better");
    }

    std::vector<Seen> seen_;
};

}  // namespace

std::unique_ptr<Judge> make_identity_judge(Trial& trial) {
    return std::make_unique<IdentityJudge>(trial);
}

}  // namespace corelet
