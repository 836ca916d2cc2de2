// The core's contract with its shell: order of effects, group commit, bounds, refusals, bars, a failed device.
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

Core core_of(CoreletId self, Restored media, Options options = {}) {
    return *Core::restore(self, options, std::move(media), Prng(self.v), Instant{1'000'000'000});
}

// A core of a group of one that leads and has nothing to do.
Core lone_leader(const Options& options = {}) {
    Core core = core_of(k_1, with_log(1, {}, 1), options);
    core.tick(Instant{1'000'000'000});
    for (int i = 0; i < 3; ++i) {
        Effects const effects = core.take();
        core.persisted(effects.ticket);
        if (!effects.apply.empty()) core.applied(effects.apply.back().at.index);
    }
    EXPECT_EQ(core.role(), Role::kLeader);
    EXPECT_TRUE(core.take().empty());
    return core;
}

TEST(Core, OneBatchForAllProposalsOfATurn) {
    Core core = lone_leader();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(core.propose(Payload("x")));
    Effects const effects = core.take();
    ASSERT_TRUE(effects.persist);
    EXPECT_EQ(effects.persist->entries.size(), 100u);
    EXPECT_TRUE(effects.apply.empty()) << "nothing is committed before it is durable";
    core.persisted(effects.ticket);
    EXPECT_EQ(core.take().apply.size(), 100u);
}

TEST(Core, BusyJournalGathersAndHoldsBackPromisesOnly) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    Entry const entry = make_entry({Term(2), 2}, EntryKind::kBarrier, {});
    core.step({k_1, k_2, Term(2), Append{{Term(1), 1}, {entry}, 1, 2}});
    Effects effects = core.take(Journal::kBusy);
    EXPECT_FALSE(effects.persist);
    EXPECT_TRUE(effects.send_now.empty() && effects.send_after.empty());
    effects = core.take();
    ASSERT_TRUE(effects.persist);
    EXPECT_EQ(effects.persist->hard_state.term, Term(2));
    ASSERT_EQ(effects.send_after.size(), 1u);
    EXPECT_TRUE(std::get<AppendResponse>(effects.send_after[0].body).promise);
    core.persisted(effects.ticket);
    core.step({k_1, k_2, Term(2), Heartbeat{7}});
    effects = core.take(Journal::kBusy);
    ASSERT_EQ(effects.send_now.size(), 1u) << "a sign of life waits for no journal";
    EXPECT_EQ(std::get<HeartbeatResponse>(effects.send_now[0].body).round, 7u);
}

// However long the journal takes, what waits for it does not grow with time.
TEST(Core, AnswersThatWaitAreMerged) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    for (Index i = 2; i < 100; ++i) {
        Entry const entry = make_entry({Term(2), i}, EntryKind::kCommand, {});
        Position const prev{Term(i == 2 ? 1u : 2u), i - 1};
        core.step({k_1, k_2, Term(2), Append{prev, {entry}, 1, i}});
        core.step({k_1, k_2, Term(2), Heartbeat{i}});
        EXPECT_TRUE(core.take(Journal::kBusy).send_now.empty());
    }
    core.step({k_1, k_2, Term(2), Append{{Term(1), 1}, {}, 1, 1}});
    Effects const effects = core.take();
    ASSERT_EQ(effects.send_after.size(), 2u);
    EXPECT_EQ(std::get<AppendResponse>(effects.send_after[0].body).match, 99u);
    EXPECT_EQ(std::get<HeartbeatResponse>(effects.send_after[1].body).round, 99u);
}

TEST(Core, NothingOfANewTermLeavesBeforeTheTermIsDurable) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    core.step({k_1, k_2, Term(5), Heartbeat{1}});
    Effects const effects = core.take();
    EXPECT_TRUE(effects.send_now.empty());
    EXPECT_EQ(effects.send_after.size(), 1u);
    EXPECT_EQ(effects.persist->hard_state.term, Term(5));
}

TEST(Core, VotesOnceATermAndOnlyForWhoHasAsMuch) {
    Core core = core_of(k_2, with_log(3, {1, 1}, 1));
    auto const answer = [&core](CoreletId from, Term term, Position last) -> std::optional<bool> {
        core.step({from, k_2, term, Vote{last, false}});
        Effects const effects = core.take();
        core.persisted(effects.ticket);
        for (const auto* sent : {&effects.send_now, &effects.send_after}) {
            for (const Message& message : *sent) return std::get<VoteResponse>(message.body).granted;
        }
        return std::nullopt;
    };
    EXPECT_EQ(answer(k_1, Term(2), {Term(1), 2}), false) << "a shorter log";
    EXPECT_EQ(answer(k_1, Term(3), {Term(1), 3}), true);
    EXPECT_EQ(answer(k_1, Term(3), {Term(1), 3}), true) << "the same again";
    EXPECT_EQ(answer(k_3, Term(3), {Term(3), 9}), false) << "the vote is given";
    EXPECT_EQ(answer(k_3, Term(2), {Term(3), 9}), std::nullopt) << "not well formed: newer than its term";
    EXPECT_EQ(answer(k_3, Term(4), {Term(2), 1}), true) << "a later term wins over length";
}

TEST(Core, RefusesWithTheReason) {
    Options options;
    options.entry_bytes_max = 100;
    options.uncommitted_bytes_max = 1000;
    options.reads_max = 2;
    Core core = lone_leader(options);
    EXPECT_EQ(core.propose(Payload(std::string(101, 'x'))).error().code, Code::kInvalid);
    Result<Position> last = core.propose(Payload("x"));
    while (last) last = core.propose(Payload("x"));
    EXPECT_EQ(last.error().code, Code::kOverloaded);
    Effects const effects = core.take();
    core.persisted(effects.ticket);
    EXPECT_TRUE(core.propose(Payload("x"))) << "room again once it is committed";
    EXPECT_TRUE(core.read_index(1));
    EXPECT_TRUE(core.read_index(2));
    EXPECT_EQ(core.read_index(3).error().code, Code::kOverloaded);
    EXPECT_EQ(core.transfer(k_1).error().code, Code::kInvalid);
    EXPECT_EQ(core.propose_change({ChangeKind::kRemove, k_1}).error().code, Code::kInvalid);
    EXPECT_EQ(core.propose_change({ChangeKind::kPromote, k_2}).error().code, Code::kInvalid);

    Core follower = core_of(k_2, with_log(3, {}, 1));
    follower.step({k_1, k_2, Term(1), Heartbeat{1}});
    Result<Position> const elsewhere = follower.propose(Payload("x"));
    EXPECT_EQ(elsewhere.error().code, Code::kNotLeader);
    EXPECT_EQ(elsewhere.error().detail, k_1.v);
}

TEST(Core, LogWithoutSnapshotsIsBounded) {
    Options options;
    options.log_bytes_max = 5000;
    options.trailing_entries = 0;
    Core core = lone_leader(options);
    Result<Position> last = core.propose(Payload(std::string(100, 'x')));
    while (last) {
        Effects const effects = core.take();
        core.persisted(effects.ticket);
        Effects const more = core.take();
        core.applied(more.apply.back().at.index);
        last = core.propose(Payload(std::string(100, 'x')));
    }
    EXPECT_EQ(last.error().code, Code::kOverloaded);
    Result<Snapshot> const snapshot = core.snapshot_of(Payload("state"));
    ASSERT_TRUE(snapshot);
    EXPECT_FALSE(core.propose(Payload(std::string(100, 'x')))) << "not before the snapshot is durable";
    core.snapshot_saved(*snapshot);
    EXPECT_EQ(core.snapshot_of(Payload("state")).error().code, Code::kConflict);
    EXPECT_TRUE(core.propose(Payload(std::string(100, 'x'))));
}

TEST(Core, RejectsWhatOnMediaContradictsItself) {
    auto const refused = [](const Restored& media) {
        Result<Core> core = Core::restore(k_1, {}, media, Prng(1), Instant{});
        return !core && core.error().code == Code::kCorrupt;
    };
    EXPECT_FALSE(refused(with_log(3, {1, 2}, 2)));
    EXPECT_TRUE(refused(with_log(3, {1, 2}, 1))) << "entries newer than the term";
    Restored gap = with_log(3, {1, 1, 1}, 1);
    gap.entries.erase(gap.entries.begin() + 1);
    EXPECT_TRUE(refused(gap));
    Restored flipped = with_log(3, {1}, 1);
    flipped.entries[1].data = Payload("something else");
    EXPECT_TRUE(refused(flipped));
    Restored short_of_commit = with_log(3, {1, 1}, 1);
    short_of_commit.hard_state.commit = 4;
    EXPECT_TRUE(refused(short_of_commit));
    Restored beyond;
    beyond.hard_state.term = Term(1);
    beyond.entries.push_back(make_entry({Term(1), 5}, EntryKind::kBarrier, {}));
    EXPECT_TRUE(refused(beyond)) << "entries without what precedes them";
}

TEST(Core, DropsMessagesThatMakeNoSense) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    EXPECT_EQ(core.take().apply.size(), 1u);
    Entry flipped = make_entry({Term(1), 2}, EntryKind::kCommand, Payload("a"));
    flipped.data = Payload("b");
    core.step({k_1, k_2, Term(1), Append{{Term(1), 1}, {flipped}, 2, 2}});
    core.step({k_1, k_3, Term(1), Heartbeat{}});
    core.step({k_2, k_2, Term(1), Heartbeat{}});
    EXPECT_EQ(core.dropped_messages(), 3u);
    EXPECT_EQ(core.log().last().index, 1u);
    EXPECT_TRUE(core.take().empty());
}

TEST(Core, BoundsWhatIsInFlightToASilentFollower) {
    Options options;
    options.append_bytes_max = 1;
    options.appends_in_flight_max = 5;
    Cluster cluster(9, options, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    usize sent = 0;
    cluster.drop_if([&sent](const Message& message) {
        if (message.to == k_3 && is<Append>(message)) ++sent;
        return message.from == k_3 && is<AppendResponse>(message);
    });
    for (int i = 0; i < 200; ++i) cluster.propose(k_1);
    cluster.run_for(400_ms);
    EXPECT_LE(sent, 6u);
    cluster.drop_if({});
    cluster.run_for(3_s);
    EXPECT_EQ(cluster.at(k_3).chain, cluster.at(k_1).chain);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Core, BarredVoterNeitherVotesNorCountsUntilLifted) {
    Cluster cluster(10, {}, {});
    cluster.found(3);
    cluster.core(k_2).bar(Bar::kForgotten);
    cluster.core(k_2).bar(Bar::kMount);
    cluster.crash(k_3);
    cluster.run_for(30_s);
    EXPECT_TRUE(cluster.leader().is_zero());
    cluster.core(k_2).lift(Bar::kMount);
    cluster.run_for(30_s);
    EXPECT_TRUE(cluster.leader().is_zero()) << "one of two reasons remains";
    cluster.core(k_2).lift(Bar::kForgotten);
    ASSERT_TRUE(cluster.works(10_s));
    CoreletId const leader = cluster.leader();
    CoreletId const other = leader == k_1 ? k_2 : k_1;
    cluster.core(other).bar(Bar::kTwoBodies);
    EXPECT_FALSE(cluster.works(2_s)) << "it is sent the log and counts for nothing";
    cluster.core(other).lift(Bar::kTwoBodies);
    EXPECT_TRUE(cluster.works(10_s));
    CoreletId const next = cluster.leader();
    cluster.start(k_3);
    cluster.core(next).bar(Bar::kTwoBodies);
    EXPECT_NE(cluster.core(next).role(), Role::kLeader);
    EXPECT_TRUE(cluster.works(10_s));
    EXPECT_NE(cluster.leader(), next);
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Core, FailedDeviceIsSilentForEver) {
    Cluster cluster(11, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.core(k_1).fail_device();
    usize heard = 0;
    cluster.drain_soup();
    cluster.drop_if([&heard](const Message& message) {
        heard += message.from == k_1 ? 1 : 0;
        return false;
    });
    EXPECT_TRUE(cluster.works(10_s));
    EXPECT_EQ(heard, 0u);
    EXPECT_FALSE(cluster.core(k_1).read_index(77));
    EXPECT_EQ(cluster.judge.verdict(), "");
}

TEST(Core, ReadsOfATurnShareARound) {
    Cluster cluster(12, {}, {});
    cluster.found(3);
    cluster.hasten(k_1);
    ASSERT_TRUE(cluster.works(1_s));
    cluster.run_for(100_ms);
    usize heartbeats = 0;
    cluster.drop_if([&heartbeats](const Message& message) {
        heartbeats += is<Heartbeat>(message) ? 1 : 0;
        return false;
    });
    Core& core = cluster.core(k_1);
    for (u64 i = 0; i < 100; ++i) {
        cluster.at(k_1).reads[1000 + i] = cluster.judge.read_begins();
        ASSERT_TRUE(core.read_index(1000 + i));
    }
    cluster.turn(k_1);
    cluster.run_for(10_ms);
    EXPECT_EQ(cluster.at(k_1).reads_done, 100u);
    EXPECT_EQ(heartbeats, 2u);
}

}  // namespace
}  // namespace corelet::raft::testing
