// Owners and their standbys, over replicas in memory: what happens when corelets fail, the catalog is away, the
// pool is full.
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
std::vector<u64> replicas_of(const pb::Segment& segment) {
    return {segment.replicas().begin(), segment.replicas().end()};
}

Task<void> append_in_background(StreamOwner* owner, u64 tag, usize blocks,
                                std::vector<std::pair<u64, Result<RecordNumber>>>* out) {
    auto done = co_await owner->append(tagged_entry(tag, blocks), false);
    out->emplace_back(tag, std::move(done));
}

TEST(StreamOwner, AppendsAreNumberedInTheOrderOfTheCalls) {
    StreamRig rig(1);
    rig.options.bytes_in_flight_max = 256 * k_kib;
    ASSERT_TRUE(rig.take_now(1));
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Prng sizes = rig.world.fork("sizes");
    Scope scope(rig.env.executor);
    for (u64 tag = 1; tag <= 120; ++tag) {
        scope.spawn(append_in_background(&rig.owner(1), tag, tag % 7 == 0 ? 40 : 1 + sizes.below(3), &done));
        rig.pass(Duration{1 + static_cast<i64>(sizes.below(60'000))});
    }
    ASSERT_TRUE(rig.pass_until([&] { return done.size() == 120; }, 20_s));
    for (usize i = 0; i < 120; ++i) EXPECT_EQ(rig.at(1).sink().tags[i], i + 1);
}

TEST(StreamOwner, ADroppedAppendLeavesTheRowToTheOthers) {
    StreamRig rig(2);
    rig.options.bytes_in_flight_max = 64 * k_block_bytes;
    ASSERT_TRUE(rig.take_now(1));
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Scope kept(rig.env.executor);
    {
        Scope dropped(rig.env.executor);
        kept.spawn(append_in_background(&rig.owner(1), 1, 60, &done));
        rig.pass(1_us);
        dropped.spawn(append_in_background(&rig.owner(1), 2, 62, &done));
        rig.pass(1_us);
        kept.spawn(append_in_background(&rig.owner(1), 3, 3, &done));
        rig.pass(1_us);
    }
    ASSERT_TRUE(rig.pass_until([&] { return done.size() == 2; }, 5_s));
    EXPECT_EQ(rig.at(1).sink().tags, (std::vector<u64>{1, 3}));
}

void expect_a_standby_for_every_loss(StreamRig& rig) {
    auto const record = rig.record();
    auto const open = rig.owner(1).status().open_segment;
    ASSERT_EQ(open.size(), 3U);
    for (CoreletId lost : open) {
        if (lost == CoreletId(1)) continue;
        bool const covered =
            std::any_of(record.segments().begin(), record.segments().end(), [&](const pb::Segment& segment) {
                auto const replicas = replicas_of(segment);
                return segment.replicas_size() == 3 &&
                       std::find(replicas.begin(), replicas.end(), lost.v) == replicas.end();
            });
        EXPECT_TRUE(covered) << "no standby does without " << lost.v;
    }
    EXPECT_EQ(StreamRig::count(record, State::DORMANT), 0U);
}

TEST(StreamOwner, ListsAStandbyForEveryLoss) {
    StreamRig rig(3, 6);
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(3_s);
    expect_a_standby_for_every_loss(rig);
}

// One that did without all of them would lie on who refused a moment ago.
TEST(StreamOwner, ListsAStandbyForEveryLossThoughSomeRefuse) {
    StreamRig rig(3, 6);
    for (u64 id : {5, 6}) rig.replicas.host(CoreletId(id)).down = true;
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(3_s);
    expect_a_standby_for_every_loss(rig);
}

TEST(StreamOwner, ListsAStandbyForEveryFailureDomainButItsOwn) {
    StreamRig rig(4, 6);
    for (auto& candidate : rig.candidates)
        for (u64 id = 1; id <= 6; ++id) candidate->placement.zones[CoreletId(id)] = static_cast<u32>((id - 1) / 2);
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(5_s);
    auto const record = rig.record();
    for (CoreletId lost : rig.owner(1).status().open_segment) {
        u64 const zone = (lost.v - 1) / 2;
        if (zone == 0) continue;
        bool const covered =
            std::any_of(record.segments().begin(), record.segments().end(), [&](const pb::Segment& segment) {
                auto const replicas = replicas_of(segment);
                return segment.replicas_size() == 3 &&
                       std::none_of(replicas.begin(), replicas.end(), [&](u64 id) { return (id - 1) / 2 == zone; });
            });
        EXPECT_TRUE(covered) << "no standby does without zone " << zone;
    }
}

TEST(StreamOwner, AReplicaThatDiesIsRolledOverWithoutTheCatalog) {
    StreamRig rig(5, 6);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 10);
    rig.pass(3_s);
    append_all(rig, 1, 11, 11);
    rig.at(1).catalog.away = true;
    CoreletId lost;
    for (CoreletId id : rig.owner(1).status().open_segment)
        if (id != CoreletId(1)) lost = id;
    rig.replicas.host(lost).down = true;
    Instant const before = rig.env.clock.now();
    append_all(rig, 1, 12, 20);
    EXPECT_LT(rig.env.clock.now() - before, 300_ms);
    rig.replicas.host(lost).down = false;
    rig.at(1).catalog.away = false;
    ASSERT_TRUE(rig.take_now(2));
    EXPECT_EQ(rig.served.size(), 20U);
}

TEST(StreamOwner, AReplicaThatFallsSilentIsRolledOver) {
    StreamRig rig(6, 6);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.pass(3_s);
    append_all(rig, 1, 4, 4);
    for (CoreletId id : rig.owner(1).status().open_segment)
        if (id != CoreletId(1)) rig.replicas.host(id).silent = true;  // both of them
    Instant const before = rig.env.clock.now();
    append_all(rig, 1, 5, 6);
    EXPECT_LT(rig.env.clock.now() - before, 1500_ms);
}

TEST(StreamOwner, EndsAreCommittedOnceTheCatalogIsBack) {
    StreamRig rig(7, 6);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    rig.at(1).catalog.away = true;
    rig.owner(1).corelet_lost(rig.owner(1).status().open_segment.back());
    rig.pass(20_s);
    EXPECT_EQ(StreamRig::count(rig.record(), State::ENDED), 0U);
    rig.at(1).catalog.away = false;
    ASSERT_TRUE(rig.pass_until([&] { return StreamRig::count(rig.record(), State::ENDED) == 1; }, 10_s));
    rig.pass(1_s);
    EXPECT_EQ(rig.at(1).sink().ended.size(), 1U);
}

// The commit that takes an unused segment off the list happened, its answer was lost: the ends behind it must not
// wait for ever.
TEST(StreamOwner, AnEndWhoseAnswerWasLostHoldsNothingUp) {
    StreamRig rig(8, 6);
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(3_s);
    rig.at(1).catalog.lose_answers = 2;                                    // one of them lists the next standby
    rig.owner(1).corelet_lost(rig.owner(1).status().open_segment.back());  // from a segment without a record
    rig.pass(3_s);
    ASSERT_EQ(rig.at(1).catalog.lose_answers, 0U);
    append_all(rig, 1, 1, 5);
    rig.owner(1).request_roll();
    EXPECT_TRUE(rig.pass_until([&] { return rig.at(1).sink().ended.size() == 1; }, 10_s));
}

TEST(StreamOwner, LostAnswersOfTheCatalogHarmNothing) {
    for (u64 seed = 1; seed <= 10; ++seed) {
        StreamRig rig(100 + seed, 6);
        rig.options.owner.segment_target_bytes = 64 * k_kib;
        ASSERT_TRUE(rig.take_now(1));
        rig.at(1).catalog.lost_answers_permille = 400;
        append_all(rig, 1, 1, 60);
        rig.pass(3_s);
        append_all(rig, 1, 61, 70);
        ASSERT_TRUE(rig.take_now(2));
        EXPECT_EQ(rig.served.size(), 70U);
    }
}

TEST(StreamOwner, BelowMinCopiesWritesWaitAndGoOn) {
    StreamRig rig(9, 3);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.pass(3_s);
    rig.kill(2);
    rig.kill(3);
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Scope scope(rig.env.executor);
    scope.spawn(append_in_background(&rig.owner(1), 4, 1, &done));
    rig.pass(30_s);
    EXPECT_TRUE(done.empty()) << "requests wait, they never fail";
    EXPECT_FALSE(rig.owner(1).stopped().is_set()) << "nobody else could append either";
    EXPECT_TRUE(rig.owner(1).status().stuck);
    EXPECT_NE(rig.owner(1).status().waiting_for.find("needs 2"), std::string::npos)
        << rig.owner(1).status().waiting_for;
    rig.revive(2);
    ASSERT_TRUE(rig.pass_until([&] { return done.size() == 1; }, 10_s));
    EXPECT_TRUE(done[0].second) << done[0].second.error().to_string();
}

TEST(StreamOwner, ANarrowStandbyIsDormantAndActivatedByACommit) {
    StreamRig rig(10, 3);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.pass(5_s);
    EXPECT_EQ(StreamRig::count(rig.record(), State::DORMANT), 2U);
    for (const pb::Segment& segment : rig.record().segments())
        if (segment.state() == State::LISTED) EXPECT_EQ(segment.replicas_size(), 3);
    rig.kill(3);
    append_all(rig, 1, 4, 6);
    auto const open = rig.owner(1).status().open_segment;
    EXPECT_EQ(open.size(), 2U);
    bool listed = false;
    for (const pb::Segment& segment : rig.record().segments())
        listed = listed || (segment.state() == State::LISTED && segment.replicas_size() == 2);
    EXPECT_TRUE(listed);
    // Back to full width when it returns.
    rig.revive(3);
    ASSERT_TRUE(rig.pass_until([&] { return rig.owner(1).status().open_segment.size() == 3; }, 10_s));
    append_all(rig, 1, 7, 8);
    ASSERT_TRUE(rig.take_now(2));
    EXPECT_EQ(rig.served.size(), 8U);
}

TEST(StreamOwner, ActivationIsRefusedUnlessTheCatalogHoldsAllReplicasToBeUp) {
    StreamRig rig(11, 3);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.pass(5_s);
    ASSERT_EQ(StreamRig::count(rig.record(), State::DORMANT), 2U);
    // The owner believes 3 to be up; the catalog knows better.
    rig.set_session(3, false);
    rig.replicas.host(CoreletId(2)).down = true;
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Scope scope(rig.env.executor);
    scope.spawn(append_in_background(&rig.owner(1), 4, 1, &done));
    rig.pass(3_s);
    EXPECT_TRUE(done.empty());
    for (const pb::Segment& segment : rig.record().segments())
        if (segment.state() == State::LISTED) EXPECT_EQ(segment.replicas_size(), 3) << "a narrow one is in use";
    rig.set_session(3, true);
    EXPECT_TRUE(rig.pass_until([&] { return done.size() == 1 && done[0].second; }, 3_s));
}

TEST(StreamOwner, AStandbyThatLostAReplicaIsTakenOffTheList) {
    StreamRig rig(12, 6);
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(3_s);
    auto const open = rig.owner(1).status().open_segment;
    u64 lost = 0;
    for (const auto& standby : rig.owner(1).status().standbys)
        for (CoreletId id : standby.replicas)
            if (std::find(open.begin(), open.end(), id) == open.end()) lost = id.v;
    ASSERT_NE(lost, 0U);
    rig.kill(lost);
    EXPECT_TRUE(rig.pass_until(
        [&] {
            auto const record = rig.record();
            return std::none_of(record.segments().begin(), record.segments().end(),
                                [&](const pb::Segment& segment) {
                                    auto const replicas = replicas_of(segment);
                                    return std::find(replicas.begin(), replicas.end(), lost) != replicas.end();
                                });
        },
        10_s));
    rig.pass(2_s);
    EXPECT_FALSE(rig.owner(1).status().standbys.empty()) << "replaced";
}

TEST(StreamOwner, AWithdrawnStandbyIsNotUsedThoughItsDelistingWasLost) {
    StreamRig rig(13, 3, {2, 2});
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 1);
    rig.pass(3_s);
    auto const standbys = rig.owner(1).status().standbys;
    ASSERT_EQ(standbys.size(), 1U);
    // It loses its replica, the proposal to delist it never arrives, and the replica is back.
    u64 const lost = standbys[0].replicas.back().v;
    rig.at(1).catalog.lost_answers_permille = 1000;
    rig.set_up(lost, false);
    rig.pass(2_s);
    rig.set_up(lost, true);
    EXPECT_TRUE(rig.owner(1).status().standbys.empty());
    rig.at(1).catalog.lost_answers_permille = 0;
    ASSERT_TRUE(rig.pass_until([&] { return rig.owner(1).status().standbys.size() == 1; }, 10_s));
    append_all(rig, 1, 2, 3);
}

// From all replicas but its own. Its session lives: only it can let go.
void cut_off_first(StreamRig& rig) {
    std::vector<CoreletId> others;
    for (u64 id = 2; id <= rig.candidates.size(); ++id) others.push_back(CoreletId(id));
    rig.replicas.isolate(CoreletId(1), others, true);
}

TEST(StreamOwner, OneThatCanNeitherAppendNorRollGivesTheStreamUp) {
    StreamRig rig(14, 5);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    cut_off_first(rig);
    rig.replicas.host(CoreletId(1)).failing = true;
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Scope scope(rig.env.executor);
    scope.spawn(append_in_background(&rig.owner(1), 4, 1, &done));
    ASSERT_TRUE(rig.pass_until([&] { return rig.owner(1).stopped().is_set(); }, 20_s));
    EXPECT_EQ(rig.record().owner(), 0U);
    EXPECT_EQ(done.size(), 1U);
    ASSERT_TRUE(rig.take_now(2, false));
    append_all(rig, 2, 5, 6);
}

// It reaches the catalog and nobody who stores anything.
TEST(StreamOwner, OneThatHearsOfNobodyGivesTheStreamUp) {
    StreamRig rig(15, 5);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    cut_off_first(rig);
    rig.at(1).placement.up = {CoreletId(1)};
    rig.at(1).placement.unheard = 4;
    std::vector<std::pair<u64, Result<RecordNumber>>> done;
    Scope scope(rig.env.executor);
    scope.spawn(append_in_background(&rig.owner(1), 4, 1, &done));
    ASSERT_TRUE(rig.pass_until([&] { return rig.owner(1).stopped().is_set(); }, 15_s));
    EXPECT_EQ(rig.record().owner(), 0U);
    ASSERT_TRUE(rig.take_now(2, false));
}

TEST(StreamOwner, AFullPoolRefusesWritesAndRecovers) {
    StreamRig rig(15, 5);
    rig.options.owner.segment_target_bytes = 64 * k_kib;
    for (u64 id = 1; id <= 5; ++id) rig.replicas.host(CoreletId(id)).full = true;
    rig.replicas.host(CoreletId(1)).full = true;
    ASSERT_TRUE(rig.take_now(1)) << "recovery may use the reserve";
    bool refused = false;
    for (u64 tag = 100; tag < 200 && !refused; ++tag) {
        auto const done = rig.append_now(1, tag);
        refused = !done && done.error().code == Code::kNoSpace;
        rig.pass(100_ms);
    }
    ASSERT_TRUE(refused);
    EXPECT_TRUE(rig.append_now(1, 1, true)) << "trims and packing go on";
    for (u64 id = 1; id <= 5; ++id) rig.replicas.host(CoreletId(id)).full = false;
    rig.pass(3_s);
    EXPECT_TRUE(rig.append_now(1, 2));
}

TEST(StreamOwner, OneFullCoreletIsDoneWithout) {
    StreamRig rig(16, 6);
    ASSERT_TRUE(rig.take_now(1));
    rig.replicas.host(CoreletId(1)).full = true;
    rig.replicas.host(CoreletId(2)).full = true;
    for (u64 round = 0; round < 4; ++round) {
        append_all(rig, 1, round * 10 + 1, round * 10 + 5);
        rig.owner(1).request_roll();
        rig.pass(3_s);
    }
    auto const last = rig.append_now(1, 99);
    EXPECT_TRUE(last) << last.error().to_string();
    for (const auto& standby : rig.owner(1).status().standbys)
        EXPECT_EQ(std::ranges::count(standby.replicas, CoreletId(2)), 0) << "it refused";
}

// Most names of segments have their homes on one that is silent, and no standby is left.
TEST(StreamOwner, OneThatDoesNotAnswerIsNoHomeForAWhile) {
    StreamRig rig(18, 6);
    rig.at(1).placement.homes_of = [](SegmentId id) {
        std::vector<CoreletId> const silent{CoreletId(1), CoreletId(2), CoreletId(3)};
        return id.seq % 8 != 0 ? silent : std::vector<CoreletId>{CoreletId(1), CoreletId(4), CoreletId(5)};
    };
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.pass(3_s);
    rig.replicas.host(CoreletId(2)).silent = true;
    Instant const before = rig.env.clock.now();
    for (u64 tag = 4; tag < 12; ++tag) {
        rig.owner(1).request_roll();
        append_all(rig, 1, tag, tag);
    }
    EXPECT_LT(rig.env.clock.now() - before, 5_s) << "one try with it, and one second for the rest";
}

// Takes long to prepare, so that a checkpoint is committed meanwhile.
TEST(StreamOwner, TheHorizonStaysBelowWhatIsBeingPrepared) {
    StreamRig rig(17, 6);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 3);
    rig.replicas.delay_max = 200_ms;
    rig.owner(1).request_roll();
    u64 checked = 0;
    for (int i = 0; i < 40; ++i) {
        rig.pass(100_ms);
        Checkpoint checkpoint;
        checkpoint.horizon = rig.owner(1).new_chunk_id().seq;
        std::set<u64> before;
        for (const pb::Segment& segment : rig.record().segments()) before.insert(segment.seq());
        ASSERT_TRUE(rig.await(rig.owner(1).commit_checkpoint(std::move(checkpoint))));
        u64 const horizon = rig.record().horizon();
        rig.pass(1_s);
        for (const pb::Segment& segment : rig.record().segments()) {
            if (before.contains(segment.seq())) continue;
            EXPECT_GE(segment.seq(), horizon) << "was below the horizon before it was listed";
            ++checked;
        }
        if (rig.owner(1).stopped().is_set()) break;
        if (i % 5 == 0) (void)rig.append_now(1, 1000 + static_cast<u64>(i));
        rig.owner(1).request_roll();
    }
    EXPECT_GT(checked, 0U);
}

TEST(StreamOwner, ReadsAreServedOnlyUnderTheLease) {
    StreamRig rig(18, 5);
    ASSERT_TRUE(rig.take_now(1));
    ASSERT_TRUE(rig.await(rig.owner(1).wait_readable()));
    EXPECT_TRUE(rig.owner(1).may_serve());
    // Cut off from everybody, the catalog too: it does not learn of its successor, and must not answer.
    std::vector<CoreletId> others;
    for (u64 id = 1; id <= 5; ++id) others.push_back(CoreletId(id));
    for (CoreletId other : others) rig.replicas.cut(CoreletId(1), other, true);
    rig.at(1).catalog.away = true;
    auto const taken = rig.take_now(2);
    ASSERT_TRUE(taken) << taken.error().to_string();
    EXPECT_FALSE(rig.owner(1).may_serve());
    ASSERT_TRUE(rig.await(rig.owner(2).wait_readable()));
}

TEST(StreamOwner, WhoGivesNoAnswerMayHaveWhatNoOtherCopyHas) {
    StreamRig rig(181, 5);
    ASSERT_TRUE(rig.take_now(1));
    ASSERT_TRUE(rig.append_now(1, 7));
    pb::Segment const segment = rig.record().segments(0);
    auto const read_others = [&] {
        SegmentId const id{SpaceId(rig.record().space()), segment.seq()};
        return rig.await(rig.owner(1).read(id, 0, 1, {0xBAD})).error();
    };
    EXPECT_EQ(read_others().code, Code::kCorrupt) << "all have said what they have";
    for (u64 replica : segment.replicas()) {
        if (replica == 1) continue;
        rig.replicas.host(CoreletId(replica)).silent = true;
        EXPECT_TRUE(read_others().is_retryable()) << read_others().to_string();
        rig.replicas.host(CoreletId(replica)).silent = false;
    }
}

TEST(StreamOwner, HandOverIsQuickAndTheLastWord) {
    StreamRig rig(19, 5);
    ASSERT_TRUE(rig.take_now(1));
    rig.pass(3_s);  // promises of before a restart, which nobody knows, have run out
    append_all(rig, 1, 1, 5);
    Instant const before = rig.env.clock.now();
    ASSERT_TRUE(rig.await(rig.owner(1).hand_over(false)));
    EXPECT_FALSE(rig.owner(1).may_serve());
    EXPECT_FALSE(rig.append_now(1, 6));
    ASSERT_TRUE(rig.take_now(2, false));
    EXPECT_LT(rig.env.clock.now() - before, 1_s);
    EXPECT_EQ(rig.served.size(), 5U);
}

TEST(StreamOwner, DetachEndsEverySegment) {
    StreamRig rig(20, 5);
    ASSERT_TRUE(rig.take_now(1));
    append_all(rig, 1, 1, 5);
    rig.pass(1_s);
    ASSERT_TRUE(rig.await(rig.owner(1).hand_over(true)));
    auto const record = rig.record();
    EXPECT_EQ(StreamRig::count(record, State::ENDED), static_cast<usize>(record.segments_size()));
    EXPECT_TRUE(record.ended_by_caretaker());
    ASSERT_TRUE(rig.take_now(2, false));
    EXPECT_EQ(rig.served.size(), 5U);
}

// What the catalog says of another owner is not this one's: by its epoch it would name segments and chunks that the
// other one names too.
TEST(StreamOwner, ReplacedItGoesByItsOwnEpochUntilItStops) {
    StreamRig rig(31);
    ASSERT_TRUE(rig.take_now(1));
    Epoch const first = rig.owner(1).epoch();
    ASSERT_TRUE(rig.take_now(2));
    ASSERT_GT(rig.owner(2).epoch(), first);
    EXPECT_FALSE(rig.await(rig.owner(1).commit_checkpoint(Checkpoint{})));
    EXPECT_EQ(rig.owner(1).epoch(), first);
    EXPECT_EQ(seq_epoch(rig.owner(1).new_chunk_id().seq), first);
}

}  // namespace
}  // namespace corelet
