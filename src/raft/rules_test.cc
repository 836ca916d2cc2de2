// Single rules that histories seldom put to the test: each has its schedule here, message by message.
#include <gtest/gtest.h>

#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

constexpr Instant k_start{1'000'000'000};

Core core_of(CoreletId self, Restored media, const Options& options = {}) {
    return *Core::restore(self, options, std::move(media), Prng(self.v), k_start);
}

// All that it wants to say, once everything is durable and applied.
std::vector<Message> settle(Core& core) {
    std::vector<Message> said;
    for (Effects effects = core.take(); !effects.empty(); effects = core.take()) {
        for (auto* some : {&effects.send_now, &effects.send_after})
            said.insert(said.end(), some->begin(), some->end());
        core.persisted(effects.ticket);
        if (effects.install) core.applied(effects.install->last.index);
        if (!effects.apply.empty()) core.applied(effects.apply.back().at.index);
    }
    return said;
}

template <class Kind>
usize count(const std::vector<Message>& said) {
    return static_cast<usize>(std::count_if(said.begin(), said.end(), is<Kind>));
}

// 1 leads 1..n in term 2; its first entry, at 2, is acknowledged by 2 if `established`.
Core leader_of(usize n, bool established = true) {
    Core core = core_of(k_1, with_log(n, {}, 1));
    core.tick(core.next_tick());
    settle(core);
    for (CoreletId id : {k_2, k_3}) core.step({id, k_1, Term(1), PreVoteResponse{Term(2), true}});
    settle(core);
    for (CoreletId id : {k_2, k_3}) core.step({id, k_1, Term(2), VoteResponse{true}});
    settle(core);
    EXPECT_EQ(core.role(), Role::kLeader);
    if (established) core.step({k_2, k_1, Term(2), AppendResponse{true, true, 2, 0, {}}});
    settle(core);
    return core;
}

TEST(Rules, CommitIsNoFurtherThanWhatTheMessageMatched) {
    Core core = core_of(k_2, with_log(3, {2, 2, 2}, 2));
    core.step({k_1, k_2, Term(3), Append{{Term(1), 1}, {}, 4, 9}});
    EXPECT_EQ(core.commit(), 1u) << "what lies beyond may be another leader's";
    Entry const other = make_entry({Term(3), 2}, EntryKind::kBarrier, {});
    core.step({k_1, k_2, Term(3), Append{{Term(1), 1}, {other}, 4, 9}});
    EXPECT_EQ(core.commit(), 2u);
    EXPECT_EQ(core.log().last(), (Position{Term(3), 2}));
}

TEST(Rules, VoteGivenBeforeARestartStays) {
    Restored media = with_log(3, {}, 4);
    media.hard_state.vote = k_1;
    Core core = core_of(k_2, media);
    core.step({k_3, k_2, Term(4), Vote{{Term(1), 1}, false}});
    std::vector<Message> const said = settle(core);
    ASSERT_EQ(count<VoteResponse>(said), 1u);
    EXPECT_FALSE(std::get<VoteResponse>(said.back().body).granted);
}

TEST(Rules, BarredVoterAnswersNoVote) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    core.bar(Bar::kMount);
    core.step({k_1, k_2, Term(2), Vote{{Term(1), 1}, true}});
    core.step({k_1, k_2, Term(2), PreVote{Term(3), {Term(1), 1}}});
    EXPECT_TRUE(settle(core).empty());
    core.lift(Bar::kMount);
    core.step({k_1, k_2, Term(2), Vote{{Term(1), 1}, true}});
    EXPECT_EQ(count<VoteResponse>(settle(core)), 1u);
}

TEST(Rules, WhoHearsALeaderTakesNoNewTermFromACandidate) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    core.step({k_1, k_2, Term(2), Heartbeat{}});
    settle(core);
    core.step({k_3, k_2, Term(7), Vote{{Term(1), 1}, false}});
    core.step({k_3, k_2, Term(7), PreVote{Term(8), {Term(1), 1}}});
    EXPECT_TRUE(settle(core).empty());
    EXPECT_EQ(core.term(), Term(2));
    core.step({k_3, k_2, Term(7), Vote{{Term(1), 1}, true}});
    EXPECT_EQ(core.term(), Term(7)) << "but from one that the leader named";
}

// Else a voter whose term ran ahead is never heard: the leader ignores its votes, and it ignores the leader.
TEST(Rules, LeaderOfAnOlderTermIsToldTheNewerOne) {
    Core core = core_of(k_2, with_log(3, {}, 5));
    settle(core);
    SnapshotChunk chunk;
    chunk.last = {Term(2), 9};
    std::vector<Body> const from_leader = {Heartbeat{}, Append{{Term(1), 1}, {}, 1, 1}, chunk};
    for (const Body& body : from_leader) {
        core.step({k_1, k_2, Term(3), body});
        std::vector<Message> const said = settle(core);
        ASSERT_EQ(said.size(), 1u) << body_name(body);
        EXPECT_EQ(said[0].term, Term(5));
        EXPECT_TRUE(core.leader().is_zero());
    }
    Core leader = leader_of(3);
    leader.step({k_2, k_1, Term(5), HeartbeatResponse{0, false, 1}});
    EXPECT_NE(leader.role(), Role::kLeader);
    EXPECT_EQ(leader.term(), Term(5));
}

TEST(Rules, PreVoteBindsNobody) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    core.step({k_3, k_2, Term(7), PreVote{Term(8), {Term(1), 1}}});
    std::vector<Message> const said = settle(core);
    ASSERT_EQ(count<PreVoteResponse>(said), 1u);
    EXPECT_TRUE(std::get<PreVoteResponse>(said.back().body).granted);
    EXPECT_EQ(core.term(), Term(1));
}

TEST(Rules, OwnVoteCountsOnlyOnceItIsDurable) {
    Core core = core_of(k_1, with_log(3, {}, 1));
    core.tick(core.next_tick());
    settle(core);
    core.step({k_2, k_1, Term(1), PreVoteResponse{Term(2), true}});
    ASSERT_EQ(core.role(), Role::kCandidate);
    Effects const effects = core.take();
    for (CoreletId id : {k_2, k_3}) core.step({id, k_1, Term(2), VoteResponse{true}});
    EXPECT_EQ(core.role(), Role::kCandidate);
    core.persisted(effects.ticket);
    EXPECT_EQ(core.role(), Role::kLeader);
}

TEST(Rules, OlderBatchDoesNotMakeTheOwnVoteDurable) {
    Core core = core_of(k_1, with_log(1, {}, 1));
    core.step({k_2, k_1, Term(2), HeartbeatResponse{}});
    Effects const older = core.take();
    ASSERT_TRUE(older.persist);
    core.tick(core.next_tick());
    Effects const newer = core.take();
    ASSERT_LT(older.ticket, newer.ticket);
    core.persisted(older.ticket);
    EXPECT_EQ(core.role(), Role::kCandidate);
    core.persisted(newer.ticket);
    EXPECT_EQ(core.role(), Role::kLeader);
}

// A voter that forgot whom it voted for may not vouch for an old leader.
TEST(Rules, HeartbeatWithoutPromiseConfirmsNoReadAndNoQuorum) {
    Core follower = core_of(k_2, with_log(3, {}, 1));
    follower.bar(Bar::kForgotten);
    follower.step({k_1, k_2, Term(2), Heartbeat{3}});
    std::vector<Message> said = settle(follower);
    ASSERT_EQ(count<HeartbeatResponse>(said), 1u);
    EXPECT_FALSE(std::get<HeartbeatResponse>(said.back().body).promise);

    Core leader = leader_of(3);
    ASSERT_TRUE(leader.read_index(1));
    said = settle(leader);
    ASSERT_EQ(count<Heartbeat>(said), 2u);
    u64 const round = std::get<Heartbeat>(said.back().body).round;
    leader.step({k_2, k_1, Term(2), HeartbeatResponse{round, false, 2}});
    EXPECT_TRUE(leader.take().reads.empty());
    leader.step({k_2, k_1, Term(2), HeartbeatResponse{round, true, 2}});
    EXPECT_EQ(leader.take().reads.size(), 1u);
    for (int i = 0; i < 10; ++i) {
        leader.tick(leader.next_tick());
        leader.step({k_2, k_1, Term(2), HeartbeatResponse{round, false, 2}});
        settle(leader);
    }
    EXPECT_NE(leader.role(), Role::kLeader);
}

TEST(Rules, AnswerToAReadOfAFormerLifeIsNotTaken) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    core.step({k_1, k_2, Term(1), Heartbeat{}});
    settle(core);
    ASSERT_TRUE(core.read_index(9));
    std::vector<Message> const said = settle(core);
    ASSERT_EQ(count<ReadRequest>(said), 1u);
    auto const request = std::get<ReadRequest>(said.back().body);
    core.step({k_1, k_2, Term(1), ReadResponse{request.nonce + 1, request.number, true, 1}});
    EXPECT_TRUE(core.take().reads.empty());
    core.step({k_1, k_2, Term(1), ReadResponse{request.nonce, request.number, true, 1}});
    EXPECT_EQ(core.take().reads.size(), 1u);
    core.step({k_1, k_2, Term(1), ReadResponse{request.nonce, request.number, true, 1}});
    EXPECT_TRUE(core.take().reads.empty());
}

TEST(Rules, SnapshotHoldsTheConfigurationOfItsIndex) {
    Core leader = leader_of(3);
    ASSERT_EQ(leader.applied(), 2u);
    ASSERT_TRUE(leader.propose_change({ChangeKind::kAddLearner, k_4}));
    Result<Snapshot> const snapshot = leader.snapshot_of(Payload("state"));
    ASSERT_TRUE(snapshot);
    EXPECT_EQ(snapshot->last, (Position{Term(2), 2}));
    EXPECT_TRUE(snapshot->configuration.learners.empty());
}

// A batch of which only the first part is durable claims neither to have repaired the log nor to have committed
// what comes with the next part.
TEST(Rules, FirstPartOfABatchPromisesNothingOfTheRest) {
    Options options;
    options.persist_bytes_max = 1;
    Core core = core_of(k_2, with_log(3, {}, 1), options);
    settle(core);
    Append append{{Term(1), 1}, {}, 3, 3};
    append.entries = {make_entry({Term(2), 2}, EntryKind::kCommand, Payload("a")),
                      make_entry({Term(2), 3}, EntryKind::kCommand, Payload("b"))};
    core.step({k_1, k_2, Term(2), append});
    Effects const first = core.take();
    ASSERT_TRUE(first.persist && first.persist->entries.size() == 1);
    EXPECT_EQ(first.persist->hard_state.commit, 2u);
    EXPECT_TRUE(first.send_after.empty()) << "the acknowledgement waits for the last part";
    core.persisted(first.ticket);
    Effects const second = core.take();
    ASSERT_TRUE(second.persist && second.persist->entries.size() == 1);
    EXPECT_EQ(second.persist->hard_state.commit, 3u);
    ASSERT_EQ(second.send_after.size(), 1u);
    EXPECT_EQ(std::get<AppendResponse>(second.send_after[0].body).match, 3u);

    Restored media = with_log(3, {}, 1);
    absorb(media, *first.persist);
    EXPECT_TRUE(Core::restore(k_2, options, media, Prng(1), k_start).has_value());
}

TEST(Rules, FirstPartOfARepairLeavesItRotten) {
    Options options;
    options.persist_bytes_max = 1;
    Core core = core_of(k_1, rotten(with_log(5, {3, 3, 3}, 3), 2), options);
    core.tick(core.next_tick());
    settle(core);
    RepairResponse supplied{core.log().last(), {Term(3), 4}, false, {}, {}};
    supplied.entries = {make_entry({Term(3), 3}, EntryKind::kCommand, Payload("a")),
                        make_entry({Term(3), 4}, EntryKind::kCommand, Payload("b"))};
    core.step({k_2, k_1, Term(3), supplied});
    ASSERT_FALSE(core.barred());
    Effects const first = core.take();
    ASSERT_TRUE(first.persist && first.persist->entries.size() == 1);
    EXPECT_EQ(first.persist->hard_state.repairing, (Position{Term(3), 4}));
    Effects const second = core.take();
    ASSERT_TRUE(second.persist);
    EXPECT_EQ(second.persist->hard_state.repairing, Position{});
}

TEST(Rules, SnapshotIsInstalledOnlyOnceItIsDurableAlsoIfAnotherFollows) {
    Core core = core_of(k_2, with_log(3, {}, 1));
    settle(core);
    auto const receive = [&core](Index index, const char* text) {
        Snapshot const whole = make_snapshot({Term(2), index}, core.configuration(), Payload(text));
        core.step(
            {k_1, k_2, Term(2),
             SnapshotChunk{whole.last, whole.configuration, whole.state.size(), whole.crc, 0, whole.state, false}});
    };
    receive(10, "ten");
    Effects const first = core.take();
    ASSERT_TRUE(first.persist && first.persist->reset_log);
    EXPECT_FALSE(first.install);
    receive(20, "twenty");
    Effects const second = core.take();
    core.persisted(first.ticket);
    EXPECT_FALSE(core.take().install);
    core.persisted(second.ticket);
    Effects const done = core.take();
    ASSERT_TRUE(done.install);
    EXPECT_EQ(done.install->last.index, 20u);
}

// Rules of repair. 1 is rotten: it promised 4@3 and has 3@3; voters are 1..5.
class RepairRules : public ::testing::Test {
  protected:
    RepairRules() : core(core_of(k_1, rotten(with_log(5, {3, 3, 3}, 3), 1))) {
        EXPECT_TRUE(core.barred());
        core.tick(core.next_tick());
        EXPECT_EQ(count<RepairRequest>(settle(core)), 4u);
    }
    void lacks(CoreletId from, Term term, const Configuration& configuration) {
        core.step({from, k_1, term, RepairResponse{core.log().last(), {Term(3), 4}, true, configuration, {}}});
    }
    Core core;
};

TEST_F(RepairRules, LackIsCountedOnlyFromALaterTermAndTheSameConfiguration) {
    Configuration const same = core.configuration();
    Configuration const fewer = *changed(same, {ChangeKind::kRemove, k_5});
    for (CoreletId id : {k_2, k_3, k_4}) lacks(id, Term(3), same);
    EXPECT_TRUE(core.barred()) << "in the term of the entry they could still take it";
    for (CoreletId id : {k_2, k_3, k_4}) lacks(id, Term(4), fewer);
    EXPECT_TRUE(core.barred()) << "of other voters a majority means something else";
    for (int i = 0; i < 5; ++i) lacks(k_2, Term(4), same);
    lacks(CoreletId(77), Term(4), same);
    lacks(k_3, Term(4), same);
    EXPECT_TRUE(core.barred()) << "two of five";
    lacks(k_4, Term(4), same);
    EXPECT_FALSE(core.barred());
}

TEST_F(RepairRules, ToLackIsToPromiseNotToTakeItFromItsLeader) {
    Core other = core_of(k_2, with_log(5, {3, 3}, 3));
    settle(other);
    other.step({k_1, k_2, Term(3), RepairRequest{{Term(3), 3}, {Term(3), 4}}});
    Effects const effects = other.take();
    ASSERT_TRUE(effects.persist && effects.send_now.empty());
    EXPECT_EQ(effects.persist->hard_state.term, Term(4));
    ASSERT_EQ(effects.send_after.size(), 1u);
    EXPECT_TRUE(std::get<RepairResponse>(effects.send_after[0].body).lacks);
}

TEST_F(RepairRules, WhoForgotDoesNotSayThatItLacks) {
    Core other = core_of(k_2, with_log(5, {3, 3}, 3));
    other.bar(Bar::kForgotten);
    settle(other);
    other.step({k_1, k_2, Term(3), RepairRequest{{Term(3), 3}, {Term(3), 4}}});
    EXPECT_TRUE(settle(other).empty());
}

// An old message of the very leader that was promised may be short.
TEST_F(RepairRules, LateMessageOfTheSameTermDoesNotRepair) {
    core.step({k_2, k_1, Term(3), Append{{Term(3), 3}, {}, 1, 3}});
    EXPECT_TRUE(core.barred());
    Entry const promised = make_entry({Term(3), 4}, EntryKind::kCommand, Payload("it"));
    core.step({k_2, k_1, Term(3), Append{{Term(3), 3}, {promised}, 1, 4}});
    EXPECT_FALSE(core.barred());
}

TEST_F(RepairRules, LeaderOfALaterTermNeedNotHaveIt) {
    core.step({k_2, k_1, Term(5), Append{{Term(3), 3}, {}, 1, 3}});
    EXPECT_FALSE(core.barred());
}

// Two that supply different snapshots would undo each other's beginning for ever.
TEST_F(RepairRules, LeaderAndPeersDoNotUndoEachOthersSnapshots) {
    auto const chunk = [this](CoreletId from, Term term, Index index, u64 offset, bool repair) {
        std::string const state(20, static_cast<char>('a' + index));
        Snapshot const whole = make_snapshot({Term(3), index}, core.configuration(), Payload(state));
        SnapshotChunk part{whole.last, whole.configuration, 20, whole.crc, offset, {}, repair};
        part.data = Payload(state.substr(offset, 10));
        core.step({from, k_1, term, part});
    };
    chunk(k_3, Term(3), 10, 0, true);
    chunk(k_4, Term(3), 11, 0, true);
    chunk(k_2, Term(4), 12, 0, false);
    chunk(k_3, Term(3), 10, 10, true);
    chunk(k_2, Term(4), 12, 10, false);
    EXPECT_EQ(core.commit(), 12u);
    EXPECT_FALSE(core.barred());
}

TEST_F(RepairRules, OneOfSeveralPeersIsListenedTo) {
    auto const chunk = [this](CoreletId from, Index index, u64 offset) {
        std::string const state(20, static_cast<char>('a' + index));
        Snapshot const whole = make_snapshot({Term(3), index}, core.configuration(), Payload(state));
        SnapshotChunk part{whole.last, whole.configuration, 20, whole.crc, offset, {}, true};
        part.data = Payload(state.substr(offset, 10));
        core.step({from, k_1, Term(3), part});
    };
    chunk(k_3, 10, 0);
    chunk(k_4, 11, 0);
    chunk(k_3, 10, 10);
    EXPECT_EQ(core.commit(), 10u);
    EXPECT_FALSE(core.barred());
}

}  // namespace
}  // namespace corelet::raft::testing
