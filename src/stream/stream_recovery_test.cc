// Recovery over replicas in memory: whom it counts, what it keeps, and that it may die anywhere.
#include "stream/stream_rig_testing.h"

namespace corelet {
namespace {

using State = pb::Segment;

void append_all(StreamRig& rig, u64 id, u64 first, u64 last) {
    for (u64 tag = first; tag <= last; ++tag) {
        auto const done = rig.append_now(id, tag);
        ASSERT_TRUE(done) << done.error().to_string();
    }
}
Task<void> take_in_background(StreamRig* rig, u64 id, bool* done) {
    (void)co_await rig->take(id);
    *done = true;
}
Task<void> append_forever(StreamOwner* owner, u64 first, u64* appended) {
    for (u64 tag = first;; ++tag) {
        auto const done = co_await owner->append(tagged_entry(tag), false);
        if (!done) co_return;
        ++*appended;
    }
}
// Segment and corelets of the open segment.
std::pair<SegmentId, std::vector<CoreletId>> open_of(StreamRig& rig, u64 id) {
    auto const replicas = rig.owner(id).status().open_segment;
    for (const pb::Segment& segment : rig.record().segments()) {
        LogSegment const spec = to_spec(StreamRig::k_space, segment);
        if (segment.state() == State::LISTED && spec.replicas == replicas &&
            rig.replicas.has(replicas[0], spec.id) && rig.replicas.end_of(replicas[0], spec.id) > 0)
            return {spec.id, replicas};
    }
    ADD_FAILURE() << "the open segment is not listed";
    return {};
}

// Corelet 1 takes the stream, appends so many records, and is its owner no more: the segment they are in.
void owner_goes_after(StreamRig& rig, u64 records, std::pair<SegmentId, std::vector<CoreletId>>* open) {
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, records);
    *open = open_of(rig, 1);
    rig.at(1).owner.reset();
}

TEST(StreamRecovery, NeedsTheOldSessionsEnd) {
    StreamRig rig(1);
    ASSERT_TRUE(rig.take_now(1));
    EXPECT_EQ(rig.take_now(2, false).error().code, Code::kUnavailable);
    rig.set_session(1, false);
    EXPECT_TRUE(rig.take_now(2, false));
    rig.set_session(3, false);
    EXPECT_EQ(rig.take_now(3, true).error().code, Code::kUnavailable) << "who has no session itself takes nothing";
}

// Else one that comes and goes, and cannot recover itself, would keep all others from it.
TEST(StreamRecovery, AnOwnerThatIsBackWithAnotherSessionHoldsNothing) {
    StreamRig rig(29);
    ASSERT_TRUE(rig.take_now(1));
    rig.set_session(1, false);
    rig.set_session(1, true);
    EXPECT_TRUE(rig.take_now(2, false));
    EXPECT_EQ(rig.take_now(1, false).error().code, Code::kUnavailable) << "the next owner has its own";
}

// Each answer takes as long as a network and a device do: record by record a long log would take minutes.
TEST(StreamRecovery, ALongLogIsReplayedInFewReads) {
    StreamRig rig(30);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 300);
    ASSERT_TRUE(rig.take_now(2));
    EXPECT_EQ(rig.served.size(), 300U);
    EXPECT_LT(rig.at(2).port.reads, 50U);
}

// It is held to be up yet; its fences are waited for, its answer to anything else is not.
TEST(StreamRecovery, ASilentFormerOwnerIsNotAskedForTheNextSegment) {
    for (u64 seed = 31; seed < 39; ++seed) {
        StreamRig rig(seed);
        ASSERT_TRUE(rig.take_now(1));
        append_all(rig, 1, 1, 3);
        rig.replicas.host(CoreletId(1)).silent = true;
        rig.set_session(1, false);
        Instant const before = rig.env.clock.now();
        ASSERT_TRUE(rig.take_now(2, false));
        EXPECT_LT(rig.env.clock.now() - before, rig.times.lease + 1500_ms);
    }
}

TEST(StreamRecovery, OneSurvivorOfASegmentIsEnough) {
    StreamRig rig(2);
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 20, &open));
    auto const& [segment, replicas] = open;
    rig.kill(replicas[0].v);
    rig.kill(replicas[1].v);
    u64 const next = replicas[2].v;
    auto const taken = rig.take_now(next, false);
    ASSERT_TRUE(taken) << taken.error().to_string();
    EXPECT_EQ(rig.served.size(), 20U);
}

TEST(StreamRecovery, OneFenceIsNotEnoughWhileAnotherReplicasSessionLives) {
    StreamRig rig(3);
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 5, &open));
    auto const& [segment, replicas] = open;
    // Two do not answer; the catalog still has their sessions.
    rig.replicas.host(replicas[1]).silent = true;
    rig.replicas.host(replicas[2]).silent = true;
    rig.take_timeout = 5_s;
    auto const early = rig.take_now(replicas[0].v);
    ASSERT_FALSE(early);
    EXPECT_EQ(early.error().code, Code::kUnavailable);
    EXPECT_EQ(rig.record().owner(), 0U) << "given up, so that others may try";
    rig.set_session(replicas[1].v, false);
    rig.set_session(replicas[2].v, false);
    rig.set_up(replicas[1].v, false);
    rig.set_up(replicas[2].v, false);
    rig.take_timeout = 10_s;
    auto const taken = rig.take_now(replicas[0].v);
    EXPECT_TRUE(taken) << taken.error().to_string();
}

// No later record says that the last one was acknowledged; the checkpoint does, and refers to where its blocks are.
TEST(StreamRecovery, WhatACheckpointHoldsWasAcknowledged) {
    StreamRig rig(24);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    auto const last = rig.append_now(1, 6);
    ASSERT_TRUE(last);
    auto const [segment, replicas] = open_of(rig, 1);
    Checkpoint checkpoint;
    checkpoint.position = *last;
    ASSERT_TRUE(rig.await(rig.owner(1).commit_checkpoint(std::move(checkpoint))));
    rig.at(1).owner.reset();
    rig.served.clear();  // the checkpoint has it all
    auto const taken = rig.take_now(2);
    ASSERT_TRUE(taken) << taken.error().to_string();
    EXPECT_TRUE(rig.served.empty()) << "nothing to replay";
    for (const pb::Segment& ended : rig.record().segments()) {
        if (ended.seq() != segment.seq) continue;
        EXPECT_EQ(ended.state(), State::ENDED);
        EXPECT_EQ(ended.last_record(), last->v) << "what the checkpoint refers to is cut off";
        EXPECT_EQ(ended.end_bytes(), rig.replicas.end_of(replicas[0], segment));
    }
    // And the numbers go on.
    auto const next = rig.append_now(2, 7);
    ASSERT_TRUE(next);
    EXPECT_EQ(*next, last->next());
}

TEST(StreamRecovery, AForgetfulReplicaDoesNotCount) {
    StreamRig rig(4, 5, {2, 1});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 5, &open));
    auto const& [segment, replicas] = open;
    rig.kill(replicas[1].v);
    rig.replicas.host(replicas[0]).forgotten = true;
    rig.take_timeout = 4_s;
    EXPECT_EQ(rig.take_now(3).error().code, Code::kUnavailable);
    rig.replicas.host(replicas[0]).forgotten = false;
    EXPECT_TRUE(rig.take_now(3));
}

TEST(StreamRecovery, EachRecordIsTakenFromWhoeverHasIt) {
    StreamRig rig(5, 5, {2, 2});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 20, &open));
    auto const& [segment, replicas] = open;
    // Each record is a header and a block; different ones rot on the two.
    rig.replicas.rot(replicas[0], segment, 5 * 2 * k_block_bytes + 10);
    rig.replicas.rot(replicas[1], segment, 11 * 2 * k_block_bytes + k_block_bytes + 7);
    auto const taken = rig.take_now(replicas[0].v);
    ASSERT_TRUE(taken) << taken.error().to_string();
    EXPECT_EQ(rig.served.size(), 20U);
}

TEST(StreamRecovery, ALossIsSaidAndNothingShortened) {
    StreamRig rig(6, 5, {2, 1});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 20, &open));
    auto const& [segment, replicas] = open;
    rig.kill(replicas[1].v);
    rig.replicas.rot(replicas[0], segment, 5 * 2 * k_block_bytes + 10);
    auto const taken = rig.take_now(replicas[0].v);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Code::kLost) << taken.error().to_string();
    EXPECT_NE(rig.record().segments_size(), 0);
    for (const pb::Segment& s : rig.record().segments())
        EXPECT_NE(s.state(), State::ENDED) << "no end is committed";
    // The other copy comes back, and all is there.
    rig.revive(replicas[1].v);
    ASSERT_TRUE(rig.take_now(replicas[1].v));
    EXPECT_EQ(rig.served.size(), 20U);
}

// Who was replaced meanwhile misses what its successor has let go of. (corelet-sim, standard.scenario, seed 50354)
TEST(StreamRecovery, OneThatWasReplacedSaysNothingOfLosses) {
    for (bool replaced : {false, true}) {
        StreamRig rig(40);
        ASSERT_TRUE(rig.take_now(1));
        append_all(rig, 1, 1, 20);
        rig.at(1).owner.reset();
        std::optional<Result<void>> taken;
        auto const take = [](StreamRig* at, std::optional<Result<void>>* out) -> Task<void> {
            *out = co_await at->take(2);
        };
        Scope scope(rig.env.executor);
        scope.spawn(take(&rig, &taken));
        ASSERT_TRUE(rig.pass_until([&] { return rig.at(2).port.reads > 0; }, 10_s));
        pb::Stream record = rig.record();
        for (const pb::Segment& segment : record.segments())
            for (u64 replica : segment.replicas())
                rig.replicas.erase(CoreletId(replica), to_spec(StreamRig::k_space, segment).id);
        if (replaced) {
            record.set_owner(3);
            record.set_epoch(record.epoch() + 1);
            Transaction transaction;
            transaction.put(stream_key(StreamRig::k_space), record.SerializeAsString());
            ASSERT_TRUE(rig.await(rig.catalog.commit(std::move(transaction), rig.env.clock.now() + 5_s)));
        }
        ASSERT_TRUE(rig.pass_until([&] { return taken.has_value(); }, 20_s));
        ASSERT_FALSE(*taken);
        EXPECT_EQ(taken->error().code, replaced ? Code::kFenced : Code::kLost) << taken->error().to_string();
    }
}

TEST(StreamRecovery, TheFirstRecordThatRottedIsALossToo) {
    StreamRig rig(7, 5, {2, 1});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 3, &open));
    auto const& [segment, replicas] = open;
    rig.kill(replicas[1].v);
    rig.replicas.rot(replicas[0], segment, 100);
    EXPECT_EQ(rig.take_now(replicas[0].v).error().code, Code::kLost);
}

// Beyond what any pool promises, and still no word is left out: they know that they have written more than can be
// read. (corelet-sim, losses.scenario, seed 4)
TEST(StreamRecovery, WhatRottedOnAllReplicasIsALoss) {
    StreamRig rig(8, 5, {2, 1});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 3, &open));
    auto const& [segment, replicas] = open;
    for (CoreletId replica : replicas) rig.replicas.rot(replica, segment, 100);
    u64 const next = replicas[0].v == 1 ? replicas[1].v : replicas[0].v;
    auto const taken = rig.take_now(next);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Code::kLost) << taken.error().to_string();
}

// Who has been started again since knows of nothing behind the rot. (corelet-sim, losses.scenario, seed 80010)
TEST(StreamRecovery, WhatRottedOnAllReplicasIsALossAfterTheirRestartToo) {
    StreamRig rig(41, 5, {2, 1});
    std::pair<SegmentId, std::vector<CoreletId>> open;
    ASSERT_NO_FATAL_FAILURE(owner_goes_after(rig, 3, &open));
    auto const& [segment, replicas] = open;
    for (CoreletId replica : replicas) {
        rig.replicas.rot(replica, segment, 100);
        rig.replicas.restart(replica);
    }
    auto const taken = rig.take_now(2);
    ASSERT_FALSE(taken);
    EXPECT_EQ(taken.error().code, Code::kLost) << taken.error().to_string();
}

TEST(StreamRecovery, SealsWhatItEndedAndDropsWhatWasNeverUsed) {
    StreamRig rig(8, 6);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    rig.pass(3_s);
    append_all(rig, 1, 6,
               7);  // the last one lies beyond the mark and moves on: the one before gives the segment an end
    std::vector<LogSegment> standbys;
    auto const [segment, replicas] = open_of(rig, 1);
    for (const pb::Segment& s : rig.record().segments())
        if (s.state() == State::LISTED && s.seq() != segment.seq)
            standbys.push_back(to_spec(StreamRig::k_space, s));
    ASSERT_FALSE(standbys.empty());
    ASSERT_TRUE(rig.take_now(2));
    rig.pass(1_s);
    for (CoreletId id : replicas) EXPECT_TRUE(rig.replicas.is_sealed(id, segment));
    for (const LogSegment& standby : standbys)
        for (CoreletId id : standby.replicas) EXPECT_FALSE(rig.replicas.has(id, standby.id));
}

TEST(StreamRecovery, ACaretakerEndsEverySegmentItsOwnToo) {
    StreamRig rig(9, 5);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    u64 appended = 0;
    {
        Scope scope(rig.env.executor);
        scope.spawn(append_forever(&rig.owner(1), 100, &appended));
        rig.pass(20_ms);
    }
    rig.at(1).owner.reset();
    ASSERT_TRUE(rig.take_now(2, true, true));
    auto const record = rig.record();
    EXPECT_EQ(StreamRig::count(record, State::ENDED), static_cast<usize>(record.segments_size()));
    EXPECT_EQ(record.owner(), 0U);
    EXPECT_TRUE(record.ended_by_caretaker());
    ASSERT_TRUE(rig.take_now(3, false));
}

TEST(StreamRecovery, OneThatCannotLoadGivesTheStreamUp) {
    StreamRig rig(10, 5);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    rig.fail_restore = true;
    EXPECT_FALSE(rig.take_now(2));
    EXPECT_EQ(rig.record().owner(), 0U) << "its session lives: else nobody may take it";
    rig.fail_restore = false;
    ASSERT_TRUE(rig.take_now(3, false));
    EXPECT_EQ(rig.served.size(), 5U);
}

// A recovery dies at any moment, and another one completes; then that one's successor too.
TEST(StreamRecovery, MayDieAnywhere) {
    for (u64 step = 0; step < 70; ++step) {
        StreamRig rig(1000 + step, 5);
        rig.replicas.delay_max = 20_ms;
        ASSERT_TRUE(rig.take_now(1));
        u64 appended = 0;
        Scope scope(rig.env.executor);
        for (u64 n = 0; n < 3; ++n) scope.spawn(append_forever(&rig.owner(1), 1000 * (n + 1), &appended));
        rig.pass(Duration{200'000'000 + static_cast<i64>(rig.env.random.below(200'000'000))});
        ASSERT_GT(appended, 0U);
        if (step % 2 == 0) {
            scope.cancel();
            rig.at(1).owner.reset();  // else it goes on beside them
        }
        bool done = false;
        {
            Scope dying(rig.env.executor);
            dying.spawn(take_in_background(&rig, 2, &done));
            // The fences take up to two seconds; the rest is quick and is met more often.
            rig.pass(Duration{static_cast<i64>(step < 20 ? step * 100 : 1'950 + (step - 20) * 8) * 1'000'000});
        }
        if (!done) rig.at(2).owner.reset();
        auto const taken = rig.take_now(3);
        ASSERT_TRUE(taken) << "step " << step << ": " << taken.error().to_string();
        append_all(rig, 3, 50'000, 50'003);
        ASSERT_TRUE(rig.take_now(4)) << "step " << step;
        EXPECT_FALSE(rig.at(1).owner && rig.owner(1).may_serve());
        scope.cancel();
        if (::testing::Test::HasFailure()) FAIL() << "step " << step;
    }
}

// The tail that a recovery kept lies in its own segment, which is listed when the next owner comes, and the one
// after (commit 3e7c961).
TEST(StreamRecovery, AKeptTailOutlivesOwnersThatNeverWrote) {
    for (u64 seed = 1; seed <= 20; ++seed) {
        StreamRig rig(2000 + seed, 5);
        rig.options.owner.idle_roll = 60_s;
        ASSERT_TRUE(rig.take_now(1));
        u64 appended = 0;
        {
            Scope scope(rig.env.executor);
            scope.spawn(append_forever(&rig.owner(1), 1, &appended));
            rig.pass(Duration{10'000'000 + static_cast<i64>(rig.env.random.below(10'000'000))});
        }
        rig.at(1).owner.reset();
        ASSERT_TRUE(rig.take_now(2));
        usize const kept = rig.served.size();
        ASSERT_TRUE(rig.take_now(3));
        ASSERT_TRUE(rig.take_now(4));
        ASSERT_TRUE(rig.take_now(2, true, true));
        ASSERT_TRUE(rig.take_now(5));
        EXPECT_EQ(rig.served.size(), kept);
        append_all(rig, 5, 90'000, 90'000);
    }
}

// A replica that a recovery read dies in the middle of it: no answer is no end of a chain.
TEST(StreamRecovery, NoAnswerIsNoEnd) {
    for (u64 seed = 1; seed <= 30; ++seed) {
        StreamRig rig(3000 + seed, 5, {2, 1});
        rig.replicas.delay_max = 20_ms;
        ASSERT_TRUE(rig.take_now(1));
        append_all(rig, 1, 1, 10);
        auto const [segment, replicas] = open_of(rig, 1);
        u64 const other = replicas[1].v;
        rig.at(1).owner.reset();
        bool done = false;
        Scope scope(rig.env.executor);
        scope.spawn(take_in_background(&rig, 3, &done));
        rig.pass(Duration{1'900'000'000 + static_cast<i64>(seed) * 10'000'000});
        rig.replicas.host(CoreletId(other)).silent = true;
        ASSERT_TRUE(rig.pass_until([&] { return done; }, 60_s));
        rig.replicas.host(CoreletId(other)).silent = false;
        ASSERT_TRUE(rig.take_now(4)) << seed;
        EXPECT_EQ(rig.served.size(), 10U) << seed;
    }
}

}  // namespace
}  // namespace corelet
