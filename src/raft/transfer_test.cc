// Leadership handed over, and learners.
#include <gtest/gtest.h>

#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

TEST(Transfer, MovesWithoutWaitingForATimeout) {
    Cluster cluster(1, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    for (int i = 0; i < 50; ++i) cluster.propose(k_1);
    ASSERT_TRUE(cluster.core(k_1).transfer(k_3));
    EXPECT_EQ(cluster.core(k_1).propose(Payload("x")).error().code, Code::kUnavailable);
    EXPECT_EQ(cluster.core(k_1).transfer(k_2).error().code, Code::kUnavailable);
    cluster.turn(k_1);
    EXPECT_TRUE(cluster.run_until([&] { return cluster.leader() == k_3; }, 100_ms));
    EXPECT_TRUE(cluster.works(1_s));
    EXPECT_EQ(cluster.core(k_1).role(), Role::kFollower);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Transfer, IsGivenUpWhenTheTargetDoesNotAnswer) {
    Cluster cluster(2, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.crash(k_3);
    cluster.propose(k_1);
    ASSERT_TRUE(cluster.core(k_1).transfer(k_3));
    cluster.turn(k_1);
    cluster.run_for(1_s);
    EXPECT_FALSE(cluster.propose(k_1));
    cluster.run_for(1_s);
    EXPECT_TRUE(cluster.propose(k_1));
    EXPECT_EQ(cluster.leader(), k_1);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Learner, HasTheLogAndNoVoice) {
    Cluster cluster(3, {}, {});
    cluster.found(3);
    cluster.start(cluster.add({}));
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kAddLearner, k_4}));
    cluster.turn(k_1);
    cluster.run_for(1_s);
    EXPECT_EQ(cluster.at(k_4).chain, cluster.at(k_1).chain);
    EXPECT_TRUE(cluster.read(k_4));
    cluster.run_for(100_ms);
    EXPECT_EQ(cluster.at(k_4).reads_done, 1u) << "it may forward reads";
    EXPECT_EQ(cluster.core(k_1).transfer(k_4).error().code, Code::kInvalid);
    cluster.crash(k_2);
    cluster.crash(k_3);
    EXPECT_FALSE(cluster.works(2_s)) << "two of four, but one of three voters";
    cluster.run_for(30_s);
    EXPECT_TRUE(cluster.leader().is_zero());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Membership, OneChangeAtATimeAndNeverToADeadMajority) {
    Cluster cluster(4, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.drop_if([](const Message& message) { return is<AppendResponse>(message); });
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kAddLearner, k_4}));
    EXPECT_EQ(cluster.core(k_1).propose_change({ChangeKind::kAddLearner, k_5}).error().code, Code::kUnavailable);
    cluster.turn(k_1);
    cluster.drop_if({});
    cluster.add({});
    cluster.run_for(5_s);
    ASSERT_TRUE(cluster.core(k_1).configuration_committed());
    EXPECT_EQ(cluster.core(k_1).propose_change({ChangeKind::kPromote, k_4}).error().code, Code::kUnavailable)
        << "it has never answered";
    cluster.crash(k_3);
    cluster.run_for(4_s);
    EXPECT_EQ(cluster.core(k_1).propose_change({ChangeKind::kRemove, k_2}).error().code, Code::kUnavailable)
        << "1 and the dead 3 would be left";
    EXPECT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kRemove, k_3}));
    cluster.turn(k_1);
    EXPECT_TRUE(cluster.works(2_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// A change that is not committed is undone with the entry that carries it.
TEST(Membership, ConfigurationIsUndoneByTruncation) {
    Cluster cluster(5, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.isolate(k_1);
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kRemove, k_2}));
    cluster.turn(k_1);
    EXPECT_EQ(cluster.core(k_1).configuration().voters, (std::vector{k_1, k_3}));
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() != k_1 && !cluster.leader().is_zero(); }, 10_s));
    cluster.unblock();
    EXPECT_TRUE(cluster.works(5_s));
    cluster.run_for(2_s);
    EXPECT_EQ(cluster.core(k_1).configuration().voters, (std::vector{k_1, k_2, k_3}));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Membership, GrowsFromOneToFiveAndShrinksBack) {
    Cluster cluster(6, {}, {});
    cluster.found(1);
    ASSERT_TRUE(cluster.works(1_s));
    auto const change = [&cluster](ChangeKind kind, CoreletId who) {
        return cluster.run_until(
            [&] {
                CoreletId const leader = cluster.leader();
                if (leader.is_zero() || !cluster.core(leader).propose_change({kind, who})) return false;
                cluster.turn(leader);
                return true;
            },
            10_s);
    };
    for (CoreletId id : {k_2, k_3, k_4, k_5}) {
        cluster.start(cluster.add({}));
        ASSERT_TRUE(change(ChangeKind::kAddLearner, id));
        ASSERT_TRUE(change(ChangeKind::kPromote, id));
    }
    ASSERT_TRUE(cluster.works(5_s));
    EXPECT_EQ(cluster.core(cluster.leader()).configuration().voters.size(), 5u);
    for (CoreletId id : {k_1, k_2, k_3, k_4}) ASSERT_TRUE(change(ChangeKind::kRemove, id)) << id.v;
    EXPECT_TRUE(cluster.run_until([&] { return cluster.leader() == k_5; }, 10_s));
    EXPECT_TRUE(cluster.works(10_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

}  // namespace
}  // namespace corelet::raft::testing
