// The parts: log, configurations, a follower's progress, encodings.
#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/configuration.h"
#include "raft/log.h"
#include "raft/progress.h"
#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

constexpr usize k_all = 1 * k_gib;

Entry command(u64 term, Index index) {
    return make_entry({Term(term), index}, EntryKind::kCommand, Payload("data"));
}

TEST(Log, KeepsTrackOfWhatIsHandedOutAndDurable) {
    Log log;
    for (Index i = 1; i <= 5; ++i) log.append(command(1, i));
    EXPECT_EQ(log.durable(), 0u);
    EXPECT_EQ(log.take_unissued(k_all).entries.size(), 5u);
    EXPECT_TRUE(log.take_unissued(k_all).empty());
    log.mark_durable(4);
    log.truncate_from(3);
    EXPECT_EQ(log.durable(), 2u);
    log.append(command(2, 3));
    Log::Unissued const unissued = log.take_unissued(k_all);
    EXPECT_EQ(unissued.truncate_from, 3u);
    ASSERT_EQ(unissued.entries.size(), 1u);
    EXPECT_EQ(unissued.entries[0].at, (Position{Term(2), 3}));
}

TEST(Log, TruncationOfWhatWasNeverHandedOutIsNotSaid) {
    Log log;
    log.append(command(1, 1));
    (void)log.take_unissued(k_all);
    log.append(command(1, 2));
    log.truncate_from(2);
    EXPECT_TRUE(log.take_unissued(k_all).empty());
}

TEST(Log, HandsOutInPartsOfBoundedSize) {
    Log log;
    for (Index i = 1; i <= 5; ++i) log.append(command(1, i));
    usize const one = log.entry_at(1).bytes();
    EXPECT_EQ(log.take_unissued(1).entries.size(), 1u);
    EXPECT_TRUE(log.any_unissued());
    EXPECT_EQ(log.take_unissued(3 * one).entries.size(), 3u);
    EXPECT_EQ(log.issued(), 4u);
    EXPECT_EQ(log.take_unissued(3 * one).entries.size(), 1u);
    EXPECT_FALSE(log.any_unissued());
}

TEST(Log, SlicesByBytesButNeverEmpty) {
    Log log;
    for (Index i = 1; i <= 5; ++i) log.append(command(1, i));
    usize const one = log.entry_at(1).bytes();
    EXPECT_EQ(log.slice(2, 5, 1).size(), 1u);
    EXPECT_EQ(log.slice(2, 5, 2 * one).size(), 2u);
    EXPECT_EQ(log.slice(2, 5, 100 * one).size(), 4u);
    EXPECT_TRUE(log.slice(6, 5, one).empty());
}

TEST(Log, CompactsAndForgetsTermsBelowItsBase) {
    Log log;
    for (Index i = 1; i <= 9; ++i) log.append(command(i < 5 ? 1 : 2, i));
    (void)log.take_unissued(k_all);
    log.mark_durable(9);
    log.compact(make_snapshot({Term(2), 7}, {}, Payload("s")), 4);
    EXPECT_EQ(log.base(), (Position{Term(1), 4}));
    EXPECT_EQ(log.term_at(4), Term(1));
    EXPECT_EQ(log.term_at(3), std::nullopt);
    EXPECT_EQ(log.term_at(5), Term(2));
    EXPECT_EQ(log.last_at_or_below(9, Term(1)), (Position{Term(1), 4}));
    log.reset(make_snapshot({Term(3), 20}, {}, Payload("t")));
    EXPECT_EQ(log.last(), (Position{Term(3), 20}));
    EXPECT_EQ(log.bytes(), 0u);
    EXPECT_EQ(log.durable(), 0u);
}

TEST(Configuration, ChangesOneVoterAndRefusesNonsense) {
    Configuration const three{{k_1, k_2, k_3}, {k_4}};
    ASSERT_TRUE(three.well_formed());
    EXPECT_EQ(changed(three, {ChangeKind::kPromote, k_4})->voters.size(), 4u);
    EXPECT_EQ(changed(three, {ChangeKind::kAddLearner, k_5})->learners, (std::vector{k_4, k_5}));
    EXPECT_EQ(changed(three, {ChangeKind::kRemove, k_2})->voters, (std::vector{k_1, k_3}));
    EXPECT_EQ(changed(three, {ChangeKind::kRemove, k_5}).error().code, Code::kInvalid);
    EXPECT_EQ(changed(three, {ChangeKind::kAddLearner, k_1}).error().code, Code::kExists);
    EXPECT_EQ(changed(three, {ChangeKind::kPromote, k_1}).error().code, Code::kExists);
    EXPECT_EQ(changed({{k_1}, {}}, {ChangeKind::kRemove, k_1}).error().code, Code::kInvalid);
    EXPECT_EQ(changed(three, {ChangeKind::kAddLearner, CoreletId()}).error().code, Code::kInvalid);
    EXPECT_FALSE((Configuration{{k_2, k_1}, {}}).well_formed());
    EXPECT_FALSE((Configuration{{k_1}, {k_1}}).well_formed());
    EXPECT_FALSE((Configuration{{k_1, k_1}, {}}).well_formed());
}

TEST(Configurations, CountFromAppendAndAreUndone) {
    Configurations history;
    history.append(1, {{k_1, k_2, k_3}, {}});
    history.append(5, {{k_1, k_2, k_3}, {k_4}});
    history.append(8, {{k_1, k_2, k_3, k_4}, {}});
    EXPECT_EQ(history.at(7).learners.size(), 1u);
    history.truncate_from(8);
    EXPECT_EQ(history.current_index(), 5u);
    history.compact(6);
    EXPECT_EQ(history.at(6).learners.size(), 1u);
    history.truncate_from(6);
    EXPECT_EQ(history.current_index(), 5u);
}

TEST(Progress, ProbesThenPipelinesThenFallsBack) {
    Options options;
    options.appends_in_flight_max = 2;
    Progress peer(10, Instant{});
    EXPECT_TRUE(peer.may_send(12, options));
    peer.sent(12, false, 3, Instant{1});
    EXPECT_FALSE(peer.may_send(12, options)) << "one probe at a time";
    EXPECT_FALSE(peer.rejected(7, 5, true)) << "not the probe that is out";
    EXPECT_TRUE(peer.rejected(9, 5, true));
    EXPECT_EQ(peer.next(), 6u);
    EXPECT_TRUE(peer.accepted(5, true));
    EXPECT_EQ(peer.state(), Progress::State::kReplicate);
    peer.sent(8, false, 3, Instant{2});
    peer.sent(9, false, 3, Instant{2});
    EXPECT_FALSE(peer.may_send(12, options)) << "the pipeline is full";
    EXPECT_TRUE(peer.accepted(8, true));
    EXPECT_TRUE(peer.may_send(12, options));
    EXPECT_FALSE(peer.rejected(7, 6, true)) << "it has acknowledged more than that";
    EXPECT_TRUE(peer.rejected(9, 8, true));
    EXPECT_EQ(peer.match(), 8u);
    EXPECT_EQ(peer.next(), 9u);
}

TEST(Progress, AnswersWithoutPromiseSteerAndDoNotCount) {
    Progress peer(10, Instant{});
    peer.sent(9, true, 0, Instant{1});
    EXPECT_TRUE(peer.accepted(9, false));
    EXPECT_EQ(peer.match(), 0u);
    EXPECT_EQ(peer.next(), 10u);
    EXPECT_TRUE(peer.accepted(9, true));
    EXPECT_EQ(peer.match(), 9u);
    EXPECT_TRUE(peer.rejected(9, 4, false)) << "it says itself that it lost what it acknowledged";
    EXPECT_EQ(peer.match(), 4u);
    EXPECT_EQ(peer.next(), 5u);
}

std::vector<Body> one_of_each() {
    Entry const entry = command(3, 8);
    Configuration const members{{k_1, k_2}, {k_3}};
    Position const at{Term(3), 7};
    return {PreVote{Term(6), at},
            PreVoteResponse{Term(6), true},
            Vote{at, true},
            VoteResponse{true},
            Append{at, {entry}, 4, 11},
            AppendResponse{true, true, 9, 8, at},
            Heartbeat{12},
            HeartbeatResponse{12, true, 4},
            SnapshotChunk{at, members, 100, 77, 20, Payload("abc"), true},
            SnapshotResponse{at, 23, true},
            TimeoutNow{},
            ReadRequest{~u64{0}, 5},
            ReadResponse{1, 5, true, 9},
            RepairRequest{at, {Term(3), 8}},
            RepairResponse{at, {Term(3), 8}, false, members, {entry}}};
}

TEST(Codec, EveryKindOfMessageSurvives) {
    std::vector<Body> const bodies = one_of_each();
    ASSERT_EQ(bodies.size(), std::variant_size_v<Body>);
    for (usize i = 0; i < bodies.size(); ++i) {
        ASSERT_EQ(bodies[i].index(), i);
        std::string const bytes = encode(Message{k_1, k_2, Term(5), bodies[i]});
        Result<Message> const back = decode_message(as_bytes(bytes));
        ASSERT_TRUE(back) << body_name(bodies[i]) << back.error().to_string();
        EXPECT_EQ(back->body.index(), i);
        EXPECT_EQ(encode(*back), bytes) << body_name(bodies[i]);
    }
}

// Whatever arrives, it is refused or it is well formed; nothing aborts.
TEST(Codec, DamagedBytesAreRefusedOrWellFormed) {
    Prng random(5);  // host: a generator of ours, by name
    usize refused = 0;
    for (const Body& body : one_of_each()) {
        std::string const good = encode(Message{k_1, k_2, Term(5), body});
        for (int i = 0; i < 500; ++i) {
            std::string bad = good;
            bad[random.below(bad.size())] = static_cast<char>(random.next());
            if (random.chance(1, 4)) bad.resize(random.below(bad.size()));
            Result<Message> const message = decode_message(as_bytes(bad));
            refused += message ? 0 : 1;
            if (message) EXPECT_TRUE(well_formed(*message));
        }
    }
    EXPECT_GT(refused, 1000u);
    std::string flipped = encode(Message{k_1, k_2, Term(5), Append{{Term(3), 7}, {command(3, 8)}, 4, 11}});
    flipped[flipped.find("data")] = 'D';
    EXPECT_FALSE(decode_message(as_bytes(flipped)));
}

TEST(Codec, RecordsSurviveAndVerify) {
    Persist batch;
    batch.hard_state = {Term(4), k_2, 7, {Term(3), 9}};
    batch.snapshot = make_snapshot({Term(3), 5}, {{k_1}, {k_2}}, Payload("state"));
    batch.reset_log = true;
    batch.compact_to = 5;
    batch.truncate_from = 8;
    batch.entries = {command(3, 8), command(4, 9)};
    std::string bytes = encode(batch);
    Result<Persist> const back = decode_persist(as_bytes(bytes));
    ASSERT_TRUE(back);
    EXPECT_EQ(encode(*back), bytes);
    EXPECT_EQ(back->hard_state, batch.hard_state);
    bytes[bytes.find("state")] = 'S';
    Result<Persist> const bad = decode_persist(as_bytes(bytes));
    ASSERT_FALSE(bad);
    EXPECT_EQ(bad.error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace corelet::raft::testing
