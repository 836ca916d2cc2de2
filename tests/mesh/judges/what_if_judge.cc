// What a voter would do were it asked just now (protocols 11): a copy of its core, as it stands in the middle of a
// run, is put a question that it must refuse. The core is pure, so the copy does what the voter would; the run goes
// on without having been asked anything. Such questions seldom come by themselves.
#include "base/fault_point.h"
#include "tests/mesh/judges/judges.h"

namespace corelet {

namespace {

class WhatIfJudge final : public Judge {
  public:
    explicit WhatIfJudge(Trial& trial) : Judge(trial, "what-if", 2'700_ms) {}

    void look() override {
        FaultPoints::Suspension const disarmed;
        for (usize i = 0; i < mesh().size(); ++i) {
            if (!mesh().node(i)) continue;
            const raft::Core& core = mesh().node(i)->services().raft->core();
            if (core.failed() || core.barred()) continue;
            if (core.configuration().is_voter(core.self())) {
                second_vote(core);
                early_read(core);
            }
            if (core.role() != raft::Role::kLeader) continue;
            overlapping_changes(core);
            learner_that_lags(core);
            removed_leader(core);
        }
    }

  private:
    static constexpr CoreletId k_stranger{0x5757575757575757};

    // What it had in hand is done.
    static void carry_out(raft::Core& core) {
        raft::Effects const effects = core.take();
        if (effects.ticket != 0) core.persisted(effects.ticket);
        (void)core.take();
    }

    // All other voters have everything, durably.
    static void commit_all(raft::Core& core) {
        carry_out(core);
        raft::Configuration const members = core.configuration();
        raft::Index const last = core.log().last().index;
        for (CoreletId voter : members.voters)
            if (voter != core.self())
                core.step(
                    raft::Message{voter, core.self(), core.term(), raft::AppendResponse{true, true, last, 0, {}}});
    }

    // In a term in which it has voted, somebody else asks, with a log as good as its own.
    void second_vote(const raft::Core& real) const {
        raft::Term const term = real.term();
        CoreletId const voted = real.durable().vote;
        if (voted.is_zero() || real.durable().term != term) return;
        auto const& voters = real.configuration().voters;
        auto const other =
            std::ranges::find_if(voters, [&](CoreletId id) { return id != voted && id != real.self(); });
        if (other == voters.end()) return;
        raft::Core core = real;
        carry_out(core);
        core.step(raft::Message{*other, core.self(), term, raft::Vote{core.log().last(), true}});
        judged();
        raft::Effects const effects = core.take();
        for (auto const* messages : {&effects.send_now, &effects.send_after})
            for (const raft::Message& message : *messages) {
                auto const* const response = std::get_if<raft::VoteResponse>(&message.body);
                if (response && response->granted && message.to == *other && message.term == term)
                    return fail(to_string(core.self()) + " has voted for " + to_string(voted) + " in term " +
                                std::to_string(term.v) + ", and would vote for " + to_string(*other));
            }
    }

    // Its leader hands over to it, everybody votes for it, and before anybody has an entry of its term somebody
    // asks it for a read: what its predecessor committed it may not know of yet.
    void early_read(const raft::Core& real) const {
        CoreletId const reader = real.leader();
        if (real.role() != raft::Role::kFollower || reader.is_zero()) return;
        raft::Core core = real;
        core.step(raft::Message{reader, core.self(), core.term(), raft::TimeoutNow{}});
        carry_out(core);
        for (CoreletId voter : real.configuration().voters)
            if (voter != core.self() && core.role() == raft::Role::kCandidate)
                core.step(raft::Message{voter, core.self(), core.term(), raft::VoteResponse{true}});
        if (core.role() != raft::Role::kLeader) return;
        judged();
        core.step(raft::Message{reader, core.self(), core.term(), raft::ReadRequest{1, 1}});
        if (grants_read(core) && core.log().term_at(core.commit()) != core.term())
            fail(to_string(core.self()) + " would answer a read in term " + std::to_string(core.term().v) +
                 " before an entry of that term is committed");
    }

    // Everybody hears its heartbeats and answers them, and nothing else; then a read that it was asked for is
    // granted.
    static bool grants_read(raft::Core& core) {
        for (int exchange = 0; exchange < 3; ++exchange) {
            raft::Effects const effects = core.take();
            for (const raft::Message& message : effects.send_now) {
                if (auto const* const read = std::get_if<raft::ReadResponse>(&message.body); read && read->granted)
                    return true;
                if (auto const* const heartbeat = std::get_if<raft::Heartbeat>(&message.body))
                    core.step(raft::Message{message.to, core.self(), core.term(),
                                            raft::HeartbeatResponse{heartbeat->round, true, core.commit()}});
            }
        }
        return false;
    }

    void overlapping_changes(const raft::Core& real) const {
        raft::Core core = real;
        if (!core.propose_change({raft::ChangeKind::kAddLearner, k_stranger})) return;
        judged();
        if (core.propose_change({raft::ChangeKind::kRemove, k_stranger}))
            fail("the leader of term " + std::to_string(core.term().v) +
                 " would change the voters before the former change is committed");
    }

    void learner_that_lags(const raft::Core& real) const {
        raft::Core core = real;
        if (core.log().last().index <= 2 * raft::Options{}.promote_lag_max ||
            !core.propose_change({raft::ChangeKind::kAddLearner, k_stranger}))
            return;
        commit_all(core);
        if (!core.configuration_committed()) return;
        judged();
        if (core.propose_change({raft::ChangeKind::kPromote, k_stranger}))
            fail("the leader of term " + std::to_string(core.term().v) + " would make a voter of who has nothing");
    }

    void removed_leader(const raft::Core& real) const {
        raft::Core core = real;
        if (core.configuration().voters.size() < 2 ||
            !core.propose_change({raft::ChangeKind::kRemove, core.self()}))
            return;
        commit_all(core);
        if (!core.configuration_committed()) return;
        judged();
        if (core.role() == raft::Role::kLeader)
            fail("the leader of term " + std::to_string(core.term().v) +
                 " would lead on when it is no voter any more");
    }
};

}  // namespace

std::unique_ptr<Judge> make_what_if_judge(Trial& trial) {
    return std::make_unique<WhatIfJudge>(trial);
}

}  // namespace corelet
