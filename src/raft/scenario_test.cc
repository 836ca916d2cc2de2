// Schedules that are known to break implementations of Raft.
#include <gtest/gtest.h>

#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

// Figure 8 of the Raft paper. An entry of term 2 gets to a majority by the leader of term 4, and is still not
// committed: the leader of term 5, which never had it, may overwrite it.
class Figure8 : public ::testing::Test {
  protected:
    Figure8() : cluster(8, one_entry_a_message(), {}) {
        cluster.add(with_log(5, {2}, 3));
        cluster.add(with_log(5, {2}, 3));
        cluster.add(with_log(5, {}, 3));
        cluster.add(with_log(5, {}, 3));
        cluster.add(with_log(5, {3}, 3));
        for (auto& [id, member] : cluster.members()) cluster.start(id);
        cluster.isolate(k_5);
        // Nothing beyond the old entry gets through.
        cluster.drop_if([this](const Message& message) {
            if (is<PreVote>(message) && message.from != candidate) return true;
            auto const* append = std::get_if<Append>(&message.body);
            if (!append || barrier_may_pass || append->entries.empty() || !cluster.runs(message.to)) return false;
            return append->entries.back().at.index > 2 && cluster.core(message.to).log().last().index >= 2;
        });
        cluster.hasten(k_1);
    }
    static Options one_entry_a_message() {
        Options options;
        options.append_bytes_max = 1;
        return options;
    }
    Cluster cluster;
    bool barrier_may_pass = false;
    CoreletId candidate = k_1;
};

TEST_F(Figure8, OldEntryOnAMajorityIsNotCommittedByCounting) {
    cluster.run_for(1_s);
    ASSERT_TRUE(cluster.core(k_3).log().matches({Term(2), 2}));
    ASSERT_TRUE(cluster.core(k_4).log().matches({Term(2), 2}));
    ASSERT_EQ(cluster.leader(), k_1);
    usize matching = 1;
    for (const Core::Peer& peer : cluster.core(k_1).peers()) matching += peer.match >= 2 ? 1 : 0;
    ASSERT_GE(matching, 3u) << "the leader must know that a majority has it";
    EXPECT_EQ(cluster.core(k_1).commit(), 1u);

    cluster.crash(k_1);
    cluster.unblock();
    cluster.drain_soup();
    candidate = k_5;
    barrier_may_pass = true;
    ASSERT_TRUE(cluster.run_until([this] { return cluster.leader() == k_5; }, 10_s));
    cluster.start(k_1);
    EXPECT_TRUE(cluster.works(5_s));
    cluster.run_for(2_s);
    for (auto& [id, member] : cluster.members()) EXPECT_EQ(member.core->log().term_at(2), Term(3));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(Figure8, OldEntryIsCommittedWithOneOfTheOwnTermAndThenStays) {
    barrier_may_pass = true;
    ASSERT_TRUE(cluster.run_until([this] { return cluster.core(k_1).commit() == 3; }, 2_s));
    cluster.crash(k_1);
    cluster.unblock();
    candidate = k_5;
    EXPECT_FALSE(cluster.run_until([this] { return cluster.leader() == k_5; }, 20_s));
    candidate = k_3;
    EXPECT_TRUE(cluster.works(10_s));
    cluster.run_for(2_s);
    for (CoreletId id : {k_2, k_3, k_4, k_5}) EXPECT_EQ(cluster.core(id).log().term_at(2), Term(2));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// The bug of single-server membership changes: two leaders change the same configuration in different directions,
// and the majorities of the results need not meet. The first change of a term waits for a committed entry of that
// term.
TEST(Scenario, FirstChangeOfATermWaitsForAnEntryOfThatTerm) {
    Cluster cluster(15, {}, {});
    cluster.found(4);
    cluster.start(cluster.add({}));
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() == k_1; }, 1_s));
    ASSERT_TRUE(cluster.works(1_s));
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kAddLearner, k_5}));
    cluster.turn(k_1);
    cluster.run_for(1_s);
    ASSERT_TRUE(cluster.core(k_1).configuration_committed());

    // The old leader makes 5 a voter; only 1 and 5 hear of it.
    cluster.split({k_1, k_5});
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kPromote, k_5}));
    cluster.turn(k_1);
    cluster.run_for(1600_ms);
    ASSERT_TRUE(cluster.core(k_5).configuration().is_voter(k_5));
    ASSERT_FALSE(cluster.core(k_1).configuration_committed());

    // 2 is elected by 3 and 4; before it has committed anything it may not remove 1.
    cluster.drop_if([](const Message& message) { return message.from == k_2 && is<Append>(message); });
    cluster.hasten(k_2);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() == k_2; }, 1_s));
    Result<Position> early = cluster.core(k_2).propose_change({ChangeKind::kRemove, k_1});
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Code::kUnavailable);

    // Once an entry of its term is committed it may, and that entry is what keeps 1 from winning with 4 and 5.
    cluster.drop_if({});
    ASSERT_TRUE(
        cluster.run_until([&] { return cluster.core(k_2).commit() == cluster.core(k_2).log().last().index; }, 2_s));
    ASSERT_TRUE(cluster.run_until([&] { return cluster.core(k_4).commit() == cluster.core(k_2).commit(); }, 2_s));
    cluster.split({k_4});
    ASSERT_TRUE(cluster.core(k_2).propose_change({ChangeKind::kRemove, k_1}));
    cluster.turn(k_2);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.core(k_2).configuration_committed(); }, 1_s));
    cluster.unblock();
    cluster.split({k_2, k_3});
    for (int i = 0; i < 20; ++i) {
        cluster.run_for(200_ms);
        if (cluster.core(k_1).role() != Role::kLeader) cluster.hasten(k_1);
        EXPECT_FALSE(cluster.core(k_1).role() == Role::kLeader &&
                     cluster.core(k_1).term() > cluster.core(k_2).term());
    }
    EXPECT_EQ(cluster.judge.verdict(), "");
    cluster.unblock();
    EXPECT_TRUE(cluster.works(20_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// 1 and 2 commit; 2 loses its media and 1 is away. Who comes in 2's place is somebody else, so 3 finds no majority.
TEST(Scenario, VoterThatLostItsMediaElectsNobody) {
    Cluster cluster(23, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.isolate(k_3);
    for (int i = 0; i < 10; ++i) cluster.propose(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    Index const committed = cluster.core(k_1).commit();
    ASSERT_LT(cluster.core(k_3).log().last().index, committed);

    cluster.lose(k_2);
    cluster.crash(k_1);
    cluster.unblock();
    cluster.start(cluster.add({}));
    cluster.run_for(60_s);
    EXPECT_TRUE(cluster.leader().is_zero());
    EXPECT_EQ(cluster.core(k_4).commit(), 0u);

    cluster.start(k_1);
    ASSERT_TRUE(cluster.works(10_s));
    EXPECT_EQ(cluster.leader(), k_1);
    auto const change = [&](ChangeKind kind, CoreletId who) {
        return cluster.run_until(
            [&] {
                CoreletId const leader = cluster.leader();
                bool const taken =
                    !leader.is_zero() && cluster.core(leader).propose_change({kind, who}).has_value();
                if (taken) cluster.turn(leader);
                return taken;
            },
            5_s);
    };
    EXPECT_TRUE(change(ChangeKind::kAddLearner, k_4));
    EXPECT_TRUE(change(ChangeKind::kPromote, k_4));
    EXPECT_TRUE(change(ChangeKind::kRemove, k_2));
    EXPECT_TRUE(cluster.works(5_s));
    cluster.run_for(2_s);
    for (CoreletId id : {k_1, k_3, k_4}) {
        EXPECT_GE(cluster.core(id).commit(), committed);
        EXPECT_EQ(cluster.core(id).configuration().voters, (std::vector{k_1, k_3, k_4}));
    }
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Scenario, RemovedLeaderStepsDownAtCommitAndDisturbsNobody) {
    Cluster cluster(31, {}, {});
    cluster.found(4);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.drop_if([](const Message& message) { return message.to == k_1 && is<AppendResponse>(message); });
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kRemove, k_1}));
    cluster.turn(k_1);
    cluster.run_for(1_s);
    EXPECT_EQ(cluster.core(k_1).role(), Role::kLeader) << "until it is committed it leads";
    cluster.drop_if({});
    ASSERT_TRUE(cluster.run_until([&] { return cluster.core(k_1).role() != Role::kLeader; }, 2_s));
    EXPECT_TRUE(cluster.core(k_1).configuration_committed());
    // The one it asked follows it at once, without waiting for a timeout.
    ASSERT_TRUE(cluster.run_until([&] { return !cluster.leader().is_zero(); }, 200_ms));
    EXPECT_TRUE(cluster.works(1_s));
    Term const term = cluster.core(cluster.leader()).term();
    cluster.run_for(30_s);
    EXPECT_EQ(cluster.core(cluster.leader()).term(), term);
    EXPECT_EQ(cluster.core(k_1).role(), Role::kFollower);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// An old leader that is cut off still believes that it leads; it must answer no read once another one has
// committed.
TEST(Scenario, PartitionedLeaderAnswersNoStaleRead) {
    Cluster cluster(42, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.isolate(k_1);
    cluster.run_for(1600_ms);
    cluster.hasten(k_2);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() == k_2; }, 1_s));
    ASSERT_TRUE(cluster.works(1_s));
    ASSERT_EQ(cluster.core(k_1).role(), Role::kLeader);
    EXPECT_TRUE(cluster.read(k_1));
    // What it sent before it was cut off, or the answers to it, do not help either.
    cluster.run_for(10_s);
    EXPECT_EQ(cluster.at(k_1).reads_done, 0u);
    EXPECT_EQ(cluster.at(k_1).reads_failed, 1u);
    EXPECT_NE(cluster.core(k_1).role(), Role::kLeader) << "check-quorum";
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// A new leader does not know what is committed before an entry of its own term is.
TEST(Scenario, NewLeaderReadsOnlyAfterAnEntryOfItsTerm) {
    Cluster cluster(43, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    // 2 has everything, but does not know that the last of it is committed.
    cluster.drop_if([](const Message& message) {
        auto const* append = std::get_if<Append>(&message.body);
        return append && append->entries.empty();
    });
    ASSERT_TRUE(cluster.works(1_s));
    ASSERT_LT(cluster.core(k_2).commit(), cluster.judge.acknowledged_index());
    cluster.crash(k_1);
    cluster.drop_if([](const Message& message) { return is<AppendResponse>(message); });
    cluster.run_for(1600_ms);
    cluster.hasten(k_2);
    cluster.run_until([&] { return !cluster.leader().is_zero(); }, 3_s);
    CoreletId const leader = cluster.leader();
    ASSERT_FALSE(leader.is_zero());
    EXPECT_TRUE(cluster.read(leader));
    cluster.run_for(1_s);
    EXPECT_EQ(cluster.at(leader).reads_done, 0u);
    cluster.drop_if({});
    cluster.run_for(2_s);
    EXPECT_EQ(cluster.at(leader).reads_done, 1u);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Scenario, PreVoteKeepsAnIsolatedVoterFromDisturbing) {
    Cluster cluster(51, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    Term const term = cluster.core(k_1).term();
    cluster.isolate(k_3);
    cluster.run_for(60_s);
    EXPECT_EQ(cluster.core(k_3).term(), term) << "its term must not run away";
    cluster.unblock();
    cluster.run_for(10_s);
    // Also where it can speak and hears nobody.
    cluster.block(k_1, k_3);
    cluster.block(k_2, k_3);
    cluster.run_for(30_s);
    cluster.unblock();
    cluster.run_for(5_s);
    EXPECT_EQ(cluster.leader(), k_1);
    EXPECT_EQ(cluster.core(k_1).term(), term);
    EXPECT_TRUE(cluster.works(1_s));
    EXPECT_EQ(cluster.core(k_3).leader(), k_1);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// A leader that reaches no majority stops leading, so that its clients look elsewhere.
TEST(Scenario, CheckQuorumEndsALeaderThatIsHalfCutOff) {
    Cluster cluster(52, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    // It is heard and hears nobody: without the check it would keep the others from electing for ever.
    cluster.block(k_2, k_1);
    cluster.block(k_3, k_1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.core(k_1).role() != Role::kLeader; }, 4_s));
    EXPECT_TRUE(cluster.works(10_s));
    EXPECT_NE(cluster.leader(), k_1);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

}  // namespace
}  // namespace corelet::raft::testing
