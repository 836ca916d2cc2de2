// A group that lives: election, replication, reads, transfer, learners, snapshots, in fair weather.
#include <gtest/gtest.h>

#include "raft/cluster_testing.h"

namespace corelet::raft::testing {
namespace {

TEST(Group, OfOneLeadsAtOnceAndServes) {
    Cluster cluster(1, {}, {});
    cluster.found(1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() == CoreletId(1); }, 100_ms));
    EXPECT_TRUE(cluster.works(100_ms));
    EXPECT_TRUE(cluster.read(CoreletId(1)));
    cluster.run_for(100_ms);
    EXPECT_EQ(cluster.at(CoreletId(1)).reads_done, 1u);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Group, OfThreeElectsReplicatesAndReads) {
    Cluster cluster(2, {}, {});
    cluster.found(3);
    ASSERT_TRUE(cluster.works(10_s)) << cluster.judge.verdict();
    for (int i = 0; i < 100; ++i) cluster.propose(cluster.leader());
    for (auto& [id, member] : cluster.members()) EXPECT_TRUE(cluster.read(id));
    cluster.run_for(1_s);
    for (auto& [id, member] : cluster.members()) {
        EXPECT_EQ(member.reads_done, 1u);
        EXPECT_EQ(member.chain, cluster.at(CoreletId(1)).chain);
        EXPECT_GE(member.chain.index, 102u);
    }
    EXPECT_EQ(cluster.judge.leaders(), 1u);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

}  // namespace
}  // namespace corelet::raft::testing
