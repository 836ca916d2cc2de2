#include "raft/generation.h"

#include <gtest/gtest.h>

#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

TEST(Generation, BeginsBeyondEverythingThatIsKnown) {
    auto const begun = begin_generation(k_4, {Term(7), 100}, Payload("state"));
    ASSERT_TRUE(begun);
    EXPECT_EQ(generation_of(Term(7)), 0u);
    EXPECT_EQ(generation_of(begun->hard_state.term), 1u);
    EXPECT_GT(begun->snapshot->last.index, 100u);
    EXPECT_EQ(begun->hard_state.commit, begun->snapshot->last.index);
    EXPECT_EQ(begun->snapshot->configuration.voters, std::vector{k_4});
    EXPECT_EQ(begun->snapshot->state.text(), "state");
    auto const again =
        begin_generation(k_5, {begun->hard_state.term, begun->snapshot->last.index}, Payload("state"));
    EXPECT_EQ(generation_of(again->hard_state.term), 2u);
    EXPECT_FALSE(begin_generation(k_4, {Term(~u64{0}), 100}, Payload()));
    EXPECT_FALSE(begin_generation(k_4, {Term(1), ~u64{0}}, Payload()));
}

// Of five voters three are gone; the fourth begins anew, the fifth is its follower with the old log.
class BegunAnew : public ::testing::Test {
  protected:
    BegunAnew() : cluster(3, {}, {}) {
        Position beyond{Term(4), 0};
        for (int i = 0; i < 5; ++i) cluster.add(with_log(5, {2, 2, 3}, 4));
        beyond.index = cluster.at(k_4).media.entries.back().at.index;
        Index const start = beyond.index + k_generation_gap;
        Chain const state{start, 77};
        cluster.at(k_4).media = *begin_generation(k_4, beyond, state.save(0));
        cluster.judge.generation_begins(cluster.at(k_4).media.snapshot->last, state);
        cluster.start(k_4);
        cluster.start(k_5);
    }
    bool leads_with_the_new_log(CoreletId id) {
        return cluster.leader() == id && cluster.core(id).commit() > k_generation_gap;
    }
    bool takes_commands() {
        if (!cluster.run_until([&] { return cluster.leader() == k_4; }, 5_s)) return false;
        if (!cluster.propose(k_4)) return false;
        Index const wanted = cluster.core(k_4).log().last().index;
        return cluster.run_until([&] { return cluster.core(k_4).commit() >= wanted; }, 5_s);
    }
    Cluster cluster;
};

TEST_F(BegunAnew, GoesOnAloneAndTakesTheOthersInAsLearners) {
    ASSERT_TRUE(takes_commands());
    EXPECT_TRUE(leads_with_the_new_log(k_4));
    cluster.run_for(5_s);
    ASSERT_TRUE(cluster.core(k_4).propose_change({ChangeKind::kAddLearner, k_5}));
    cluster.turn(k_4);
    auto const caught_up = [&] {
        return cluster.core(k_5).log().snapshot() && cluster.core(k_5).commit() == cluster.core(k_4).commit();
    };
    ASSERT_TRUE(cluster.run_until(caught_up, 20_s));
    EXPECT_TRUE(cluster.core(k_5).log().matches(cluster.core(k_4).log().last()));
    ASSERT_TRUE(cluster.run_until(
        [&] {
            auto const changed = cluster.core(k_4).propose_change({ChangeKind::kPromote, k_5});
            cluster.turn(k_4);
            return changed.has_value();
        },
        20_s));
    ASSERT_TRUE(cluster.run_until([&] { return cluster.core(k_5).configuration().is_voter(k_5); }, 20_s));
    EXPECT_EQ(cluster.core(k_5).configuration().voters, (std::vector{k_4, k_5}));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// The devices that were taken for lost come back, and are a majority of the group that was. They may go on among
// themselves while they hear of nobody; not afterwards.
TEST_F(BegunAnew, AMajorityOfTheFormerGroupIsOutvotedForEver) {
    ASSERT_TRUE(takes_commands());
    for (CoreletId id : {k_1, k_2, k_3}) cluster.start(id);
    // The others ask in vain from then on: whoever would have to vote for them does not.
    auto const most_know = [&] {
        return std::ranges::count_if(std::array{k_1, k_2, k_3, k_4, k_5}, [&](CoreletId id) {
                   return generation_of(cluster.core(id).term()) == 1;
               }) >= 3;
    };
    ASSERT_TRUE(cluster.run_until(most_know, 60_s));
    for (int i = 0; i < 200; ++i) {
        cluster.run_for(300_ms);
        ASSERT_TRUE(leads_with_the_new_log(k_4)) << "after " << i << " looks";
        for (CoreletId id : {k_1, k_2, k_3, k_5}) ASSERT_NE(cluster.core(id).role(), Role::kLeader);
    }
    EXPECT_TRUE(takes_commands());
    EXPECT_EQ(cluster.judge.verdict(), "");
}

}  // namespace
}  // namespace corelet::raft::testing
