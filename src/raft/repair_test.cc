// A voter whose log was promised and has rotted: it must neither vote nor acknowledge before what it promised is
// back, or known never to have counted; and it must get there by itself where that is possible.
#include <gtest/gtest.h>

#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

class Repair : public ::testing::Test {
  protected:
    // Members start with these media, the ones that are none not at all.
    void start(Cluster& cluster, std::vector<std::optional<Restored>> media) {
        for (auto& one : media) {
            bool const starts = one.has_value();
            CoreletId const id = cluster.add(starts ? std::move(*one) : Restored{});
            if (starts && cluster.at(id).media.rotten.index > 0) cluster.judge.saw_impaired(id);
            if (starts) cluster.start(id);
        }
    }
};

// 1 is gone; 2 acknowledged what 1 committed and it has rotted; 3 never had it. Nobody may lead.
TEST_F(Repair, RottenVoterDoesNotHelpToForgetWhatItAcknowledged) {
    Cluster cluster(1, {}, {});
    start(cluster, {std::nullopt, rotten(with_log(3, {2, 2, 2}, 2), 2), with_log(3, {2}, 2)});
    cluster.run_for(120_s);
    EXPECT_TRUE(cluster.leader().is_zero());
    EXPECT_TRUE(cluster.core(k_2).barred());
    // And it does not forget that by being restarted.
    cluster.crash(k_2);
    cluster.start(k_2);
    EXPECT_TRUE(cluster.core(k_2).barred());
    cluster.run_for(60_s);
    EXPECT_TRUE(cluster.leader().is_zero());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(Repair, LeaderSuppliesARottenVoter) {
    Cluster cluster(2, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    for (int i = 0; i < 20; ++i) cluster.propose(k_1);
    cluster.run_for(1_s);
    cluster.crash(k_2);
    ASSERT_TRUE(cluster.rot(k_2, 7));
    // The leader still believes that 2 has it all; 2 must be able to say that it has not.
    cluster.start(k_2);
    ASSERT_TRUE(cluster.core(k_2).barred());
    ASSERT_TRUE(cluster.run_until([&] { return !cluster.core(k_2).barred(); }, 2_s));
    EXPECT_EQ(cluster.core(k_2).log().last(), cluster.core(k_1).log().last());
    cluster.run_for(1_s);
    EXPECT_EQ(cluster.at(k_2).media.hard_state.repairing, Position{});
    cluster.crash(k_3);
    EXPECT_TRUE(cluster.works(1_s)) << "its acknowledgement counts again";
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// While it is being supplied its acknowledgements must not count.
TEST_F(Repair, RottenVoterIsNoPartOfAMajority) {
    Options small;
    small.append_bytes_max = 1;
    Cluster cluster(3, small, {});
    start(cluster,
          {with_log(3, {2, 2, 2, 2, 2}, 2), rotten(with_log(3, {2, 2, 2, 2, 2}, 2), 4), with_log(3, {2, 2}, 2)});
    cluster.drop_if([](const Message& message) {
        auto const* append = std::get_if<Append>(&message.body);
        return append && message.to == k_2 && !append->entries.empty() && append->entries.back().at.index > 4;
    });
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.run_until([&] { return cluster.leader() == k_1; }, 5_s)) << cluster.judge.verdict();
    cluster.run_for(2_s);
    ASSERT_TRUE(cluster.core(k_2).barred());
    cluster.crash(k_3);
    EXPECT_FALSE(cluster.works(2_s));
    cluster.drop_if({});
    EXPECT_TRUE(cluster.works(10_s));
    EXPECT_FALSE(cluster.core(k_2).barred());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// No leader, but 3 holds the very entry that 2 promised: 2 takes it from there, in several messages.
TEST_F(Repair, PeerThatHoldsThePromisedEntrySuppliesIt) {
    Options small;
    small.append_bytes_max = 150;
    Cluster cluster(4, small, {});
    start(cluster,
          {std::nullopt, rotten(with_log(3, {2, 2, 2, 2, 2, 2}, 2), 5), with_log(3, {2, 2, 2, 2, 2, 2, 2}, 2)});
    EXPECT_TRUE(cluster.works(20_s));
    EXPECT_FALSE(cluster.core(k_2).barred());
    EXPECT_EQ(cluster.core(k_2).log().term_at(7), Term(2));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// No leader, and what 2 lacks is compacted at 3: 2 takes 3's snapshot.
TEST_F(Repair, PeerSuppliesASnapshotWhereItsLogIsCompacted) {
    Options options;
    options.trailing_entries = 0;
    options.snapshot_chunk_bytes = 100;
    Cluster cluster(5, options, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    for (int i = 0; i < 30; ++i) cluster.propose(k_1);
    cluster.run_for(1_s);
    cluster.snapshot(k_3, 1000);
    cluster.run_for(100_ms);
    ASSERT_GT(cluster.core(k_3).log().base().index, 20u);
    cluster.crash(k_1);
    cluster.crash(k_2);
    ASSERT_TRUE(cluster.rot(k_2, 10));
    cluster.start(k_2);
    EXPECT_TRUE(cluster.works(20_s));
    EXPECT_FALSE(cluster.core(k_2).barred());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// Of five, 5 is gone and two are rotten; each one's last promise is known not to be on any of the others, so it was
// not committed. Else the three could never go on.
TEST_F(Repair, EntryThatAMajorityLacksIsGivenUp) {
    Cluster cluster(6, {}, {});
    start(cluster, {rotten(with_log(5, {2, 2, 2, 2}, 2), 1), rotten(with_log(5, {2, 3}, 3), 1),
                    with_log(5, {2, 2}, 3), std::nullopt, std::nullopt});
    cluster.run_for(30_s);
    // Two that lack it, and oneself, are no majority of others.
    EXPECT_TRUE(cluster.core(k_1).barred());
    EXPECT_TRUE(cluster.leader().is_zero());
    cluster.at(k_4).media = with_log(5, {2, 2}, 3);
    cluster.start(k_4);
    EXPECT_TRUE(cluster.works(30_s));
    cluster.run_for(5_s);
    for (CoreletId id : {k_1, k_2}) EXPECT_FALSE(cluster.core(id).barred());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// Of several missing entries an earlier one may be committed where the last is not.
TEST_F(Repair, MajorityThatLacksTheLastOfSeveralProvesNothing) {
    Cluster cluster(7, {}, {});
    // 4@2 is on 1, 2 and 5: committed. 5@2 was on 1 alone. 2 is rotten too, so nobody leads.
    start(cluster, {rotten(with_log(5, {2, 2, 2, 2}, 2), 2), rotten(with_log(5, {2, 2, 2}, 2), 1),
                    with_log(5, {2, 2}, 2), with_log(5, {2, 2}, 2), std::nullopt});
    cluster.run_for(60_s);
    EXPECT_TRUE(cluster.core(k_1).barred());
    EXPECT_TRUE(cluster.leader().is_zero());
    cluster.at(k_5).media = with_log(5, {2, 2, 2}, 2);
    cluster.start(k_5);
    EXPECT_TRUE(cluster.works(30_s));
    cluster.run_for(5_s);
    for (auto& [id, member] : cluster.members()) EXPECT_EQ(member.core->log().term_at(4), Term(2));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

}  // namespace
}  // namespace corelet::raft::testing
