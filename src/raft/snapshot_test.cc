// Who lags behind the log catches up by a snapshot, in chunks of bounded size, whatever happens on the way.
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

class SnapshotCatchUp : public ::testing::Test {
  protected:
    SnapshotCatchUp() : cluster(1, chunked(), {}) {
        cluster.found(3);
        cluster.hasten(k_1);
        EXPECT_TRUE(cluster.works(1_s));
        cluster.crash(k_3);
        for (int i = 0; i < 200; ++i) cluster.propose(k_1, 20);
        cluster.run_for(1_s);
        cluster.snapshot(k_1, 50'000);
        cluster.run_for(100_ms);
        EXPECT_GT(cluster.core(k_1).log().base().index, 190u);
        cluster.drop_if([this](const Message& message) {
            if (is<SnapshotChunk>(message)) ++chunks;
            largest = std::max(largest, encode(message).size());
            return lose_every != 0 && is<SnapshotChunk>(message) && chunks % lose_every == 0;
        });
    }
    static Options chunked() {
        Options options;
        options.trailing_entries = 0;
        options.snapshot_chunk_bytes = 1000;
        return options;
    }
    bool caught_up(CoreletId id) { return cluster.runs(id) && cluster.at(id).chain == cluster.at(k_1).chain; }
    Cluster cluster;
    usize chunks = 0;
    usize largest = 0;
    usize lose_every = 0;
};

TEST_F(SnapshotCatchUp, InChunksOfBoundedSize) {
    cluster.start(k_3);
    EXPECT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 5_s));
    EXPECT_GE(chunks, 50u);
    EXPECT_LE(largest, 1200u);
    cluster.crash(k_2);
    EXPECT_TRUE(cluster.works(2_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(SnapshotCatchUp, ThroughLostChunks) {
    lose_every = 7;
    cluster.start(k_3);
    EXPECT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 30_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(SnapshotCatchUp, ThroughACrashInTheMiddleAndAfterTheInstall) {
    cluster.start(k_3);
    ASSERT_TRUE(cluster.run_until([this] { return chunks == 25; }, 5_s));
    cluster.crash(k_3);
    cluster.start(k_3);
    ASSERT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 5_s));
    cluster.crash(k_3);
    cluster.start(k_3);
    EXPECT_EQ(cluster.core(k_3).log().base().index, cluster.core(k_1).log().base().index);
    EXPECT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 5_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(SnapshotCatchUp, WhileTheLeaderMakesTheNext) {
    cluster.start(k_3);
    ASSERT_TRUE(cluster.run_until([this] { return chunks == 25; }, 5_s));
    for (int i = 0; i < 50; ++i) cluster.propose(k_1, 20);
    cluster.run_for(10_ms);
    cluster.snapshot(k_1, 60'000);
    EXPECT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 5_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST_F(SnapshotCatchUp, FromTheNextLeaderWhenTheFirstDies) {
    cluster.snapshot(k_2, 50'000);
    cluster.run_for(100_ms);
    cluster.start(k_3);
    ASSERT_TRUE(cluster.run_until([this] { return chunks == 25; }, 5_s));
    cluster.crash(k_1);
    EXPECT_TRUE(cluster.works(10_s));
    cluster.start(k_1);
    EXPECT_TRUE(cluster.run_until([this] { return caught_up(k_3); }, 5_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// A new learner has no log at all.
TEST_F(SnapshotCatchUp, OfANewLearnerThatIsThenPromoted) {
    CoreletId const fresh = cluster.add({});
    cluster.start(fresh);
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kAddLearner, fresh}));
    cluster.turn(k_1);
    Result<Position> early = cluster.core(k_1).propose_change({ChangeKind::kPromote, fresh});
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Code::kUnavailable);
    ASSERT_TRUE(cluster.run_until([&] { return caught_up(fresh); }, 5_s));
    ASSERT_TRUE(cluster.core(k_1).propose_change({ChangeKind::kPromote, fresh}));
    cluster.turn(k_1);
    cluster.run_for(1_s);
    EXPECT_TRUE(cluster.core(fresh).configuration().is_voter(fresh));
    EXPECT_TRUE(cluster.works(1_s));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

// Damaged bytes are not installed, whoever sends them.
TEST_F(SnapshotCatchUp, NeverInstallsWhatDoesNotVerify) {
    Core& core = [this]() -> Core& {
        cluster.start(k_3);
        return cluster.core(k_3);
    }();
    Snapshot const good = make_snapshot({Term(2), 500}, core.configuration(), Payload("some state"));
    u64 const before = core.dropped_messages();
    SnapshotChunk chunk{good.last, good.configuration, 10, good.crc, 0, Payload("same state"), false};
    core.step({k_1, k_3, Term(2), chunk});
    EXPECT_EQ(core.dropped_messages(), before + 1);
    EXPECT_LT(core.commit(), 500u);
    chunk.data = good.state;
    core.step({k_1, k_3, Term(2), chunk});
    EXPECT_EQ(core.commit(), 500u);
}

}  // namespace
}  // namespace corelet::raft::testing
