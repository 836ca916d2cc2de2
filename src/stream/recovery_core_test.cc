#include "stream/recovery_core.h"

#include <gtest/gtest.h>

#include "stream/segment_sweeper.h"

namespace corelet {
namespace {

constexpr SpaceId k_space{7};

// Writes segments as an owner does; what replicas hold of them is picked from it.
struct Writer {
    // Numbers [first, last], each record one block and `acknowledged` = number - lag - 1.
    std::vector<RecordHeader> segment(u64 seq, u64 roll, u64 first, u64 last, std::vector<StatedEnd> ends = {},
                                      u64 acknowledged = 0) {
        std::vector<RecordHeader> out;
        for (u64 number = first; number <= last; ++number) {
            RecordHeader header;
            header.segment = SegmentId{k_space, seq};
            header.epoch = Epoch(4);
            header.number = RecordNumber(number);
            header.acknowledged = RecordNumber(acknowledged ? std::min(acknowledged, number - 1) : number - 1);
            header.offset = (number - first) * k_block_bytes;
            header.roll = roll;
            header.previous_crc = out.empty() ? 0 : out.back().crc;
            header.header_blocks = 1;
            header.crc = static_cast<u32>(seq * 1000 + number);
            if (out.empty()) header.ends = ends;
            out.push_back(std::move(header));
        }
        return out;
    }
};
SegmentChain chain(u64 seq, const std::vector<RecordHeader>& records = {}) {
    SegmentChain out(LogSegment{SegmentId{k_space, seq}, 1, {CoreletId(1), CoreletId(2)}});
    for (const RecordHeader& record : records) EXPECT_TRUE(out.offer(record));
    return out;
}
RecoveryPlan plan(const std::vector<SegmentChain>& chains, u64 base = 0, u64 kept = 0) {
    auto out = plan_recovery(chains, RecordNumber(base), RecordNumber(kept), 0);
    EXPECT_TRUE(out) << out.error().to_string();
    return out.value_or(RecoveryPlan{});
}
Code refused(const std::vector<SegmentChain>& chains, u64 base = 0, u64 kept = 0) {
    auto const out = plan_recovery(chains, RecordNumber(base), RecordNumber(kept), 0);
    EXPECT_FALSE(out);
    return out ? Code{} : out.error().code;
}

TEST(SegmentChain, TakesEachRecordFromWhoeverHasIt) {
    Writer w;
    auto const records = w.segment(10, 1, 1, 4);
    SegmentChain chain(LogSegment{SegmentId{k_space, 10}, 1, {}});
    EXPECT_FALSE(chain.offer(records[1])) << "nothing before it";
    EXPECT_TRUE(chain.offer(records[0]));
    EXPECT_FALSE(chain.offer(records[0])) << "known";
    EXPECT_FALSE(chain.offer(records[2])) << "beyond a gap";
    EXPECT_TRUE(chain.offer(records[1]));
    EXPECT_TRUE(chain.offer(records[2]));
    EXPECT_EQ(chain.end_bytes(), 3 * k_block_bytes);
    for (int wrong = 0; wrong < 5; ++wrong) {
        RecordHeader bad = records[3];
        if (wrong == 0) bad.previous_crc ^= 1;
        if (wrong == 1) bad.number = RecordNumber(9);
        if (wrong == 2) bad.epoch = Epoch(5);
        if (wrong == 3) bad.roll = 2;
        if (wrong == 4) bad.segment.seq = 11;
        EXPECT_FALSE(chain.offer(bad)) << wrong;
    }
    EXPECT_TRUE(chain.offer(records[3]));
}

TEST(RecoveryPlan, NothingEverWritten) {
    auto const p = plan({chain(10)}, 0, 0);
    EXPECT_TRUE(p.replay.empty());
    EXPECT_FALSE(p.tail_chain);
    ASSERT_EQ(p.ends.size(), 1U);
    EXPECT_EQ(p.ends[0].end_bytes, 0U);
}

TEST(RecoveryPlan, TheEndIsTheMarkAndWhatIsBeyondIsWrittenAgain) {
    Writer w;
    auto const p = plan({chain(10, w.segment(10, 1, 1, 5, {}, 3))});
    EXPECT_EQ(p.mark, RecordNumber(3));
    EXPECT_EQ(p.last_record, RecordNumber(5));
    ASSERT_TRUE(p.tail_chain);
    ASSERT_EQ(p.ends.size(), 1U);
    EXPECT_EQ(p.ends[0], (StatedEnd{10, 3 * k_block_bytes, RecordNumber(3)})) << "no further than the mark";
}

TEST(RecoveryPlan, OrderIsThatOfUseNotOfListing) {
    Writer w;
    // Listed 12, 10, 11; used 10, then 12; 11 never.
    auto const p = plan({chain(12, w.segment(12, 2, 4, 5, {{10, 3 * k_block_bytes, RecordNumber(3)}})),
                         chain(10, w.segment(10, 1, 1, 3)), chain(11)});
    EXPECT_EQ(p.replay, (std::vector<usize>{1, 0}));
    EXPECT_EQ(p.roll, 2U);
    ASSERT_EQ(p.ends.size(), 3U);
    EXPECT_EQ(p.ends[0].seq, 10U);
    EXPECT_EQ(p.ends[1].seq, 12U);
    EXPECT_EQ(p.ends[2].end_bytes, 0U);
}

TEST(RecoveryPlan, TheHighestRollOverridesWhatLiesBeyondTheEndsItStates) {
    Writer w;
    // 10 holds records 4 and 5 of the old numbering beyond its stated end: they were sent again in 11 as something
    // else.
    auto const p = plan({chain(10, w.segment(10, 1, 1, 5, {}, 3)),
                         chain(11, w.segment(11, 2, 4, 6, {{10, 3 * k_block_bytes, RecordNumber(3)}}, 4))});
    EXPECT_EQ(p.mark, RecordNumber(4));
    EXPECT_EQ(p.last_record, RecordNumber(6));
    ASSERT_EQ(p.ends.size(), 2U);
    EXPECT_EQ(p.ends[0], (StatedEnd{10, 3 * k_block_bytes, RecordNumber(3)}));
    EXPECT_EQ(p.ends[1], (StatedEnd{11, k_block_bytes, RecordNumber(4)}));
    EXPECT_EQ(p.tail_chain, std::optional<usize>(1));
}

TEST(RecoveryPlan, ASegmentThatWasOpenedAndAbandonedEndsEmpty) {
    Writer w;
    // 11 got a record that was never acknowledged, then the owner went on in 12.
    auto const p = plan(
        {chain(10, w.segment(10, 1, 1, 3)),
         chain(11, w.segment(11, 2, 4, 4, {{10, 3 * k_block_bytes, RecordNumber(3)}})),
         chain(12, w.segment(12, 3, 4, 4, {{10, 3 * k_block_bytes, RecordNumber(3)}, {11, 0, RecordNumber(3)}}))});
    ASSERT_EQ(p.ends.size(), 3U);
    EXPECT_EQ(p.ends[1], (StatedEnd{11, 0, RecordNumber(3)}));
    EXPECT_EQ(p.last_record, RecordNumber(4));
}

TEST(RecoveryPlan, AMarkSeenAnywhereCounts) {
    Writer w;
    // The longest chain ends at 4, but a record beyond the stated end of a former segment knew that 5 was
    // acknowledged.
    auto records = w.segment(10, 1, 1, 3);
    auto last = w.segment(11, 2, 4, 4, {{10, 3 * k_block_bytes, RecordNumber(3)}});
    auto chains = std::vector{chain(10, records), chain(11, last)};
    EXPECT_EQ(plan(chains).last_record, RecordNumber(4));
    RecordHeader beyond = last[0];
    beyond.number = RecordNumber(9);
    beyond.acknowledged = RecordNumber(5);
    chains[1].note_beyond(beyond);
    EXPECT_EQ(refused(chains), Code::kLost) << "5 is found nowhere: a loss is said, never shortened";
    beyond.acknowledged = RecordNumber(4);
    chains = {chain(10, records), chain(11, last)};
    chains[1].note_beyond(beyond);
    EXPECT_EQ(plan(chains).mark, RecordNumber(4));
}

TEST(RecoveryPlan, AMissingStatedEndIsALoss) {
    Writer w;
    auto const last = w.segment(11, 2, 4, 4, {{10, 3 * k_block_bytes, RecordNumber(3)}});
    EXPECT_EQ(refused({chain(10, w.segment(10, 1, 1, 2)), chain(11, last)}), Code::kLost)
        << "shorter than its stated end";
    EXPECT_EQ(refused({chain(10), chain(11, last)}), Code::kLost) << "used, and nothing of it is left";
    EXPECT_EQ(refused({chain(10, w.segment(10, 1, 2, 3)), chain(11, last)}), Code::kLost)
        << "its first record is missing";
}

TEST(RecoveryPlan, WhatAllHaveWrittenAndNobodyCanReadIsALoss) {
    Writer w;
    SegmentChain last = chain(10, w.segment(10, 1, 1, 2));
    last.note_written(4 * k_block_bytes);
    last.note_written(2 * k_block_bytes);
    EXPECT_EQ(plan({last}).last_record.v, 2U) << "one of them never had the third: nobody was told of it";
    last = chain(10, w.segment(10, 1, 1, 2));
    last.note_written(3 * k_block_bytes);
    EXPECT_EQ(refused({last}), Code::kLost);
    SegmentChain empty = chain(11);
    empty.note_written(k_block_bytes);
    EXPECT_EQ(refused({empty}), Code::kLost);
    // A later one states its end: what lies beyond that was written again.
    EXPECT_EQ(
        plan({last, chain(12, w.segment(12, 2, 3, 4, {{10, 2 * k_block_bytes, RecordNumber(2)}}))}).last_record.v,
        4U);
}

TEST(RecoveryPlan, AnEndBetweenOtherRecordsIsRefused) {
    Writer w;
    EXPECT_EQ(refused({chain(10, w.segment(10, 1, 1, 3)),
                       chain(11, w.segment(11, 2, 4, 4, {{10, 2 * k_block_bytes, RecordNumber(3)}}))}),
              Code::kCorrupt);
}

TEST(RecoveryPlan, AUsedSegmentWhoseEndIsStatedNowhereIsRefused) {
    Writer w;
    EXPECT_EQ(refused({chain(10, w.segment(10, 1, 1, 3)), chain(11, w.segment(11, 2, 4, 4))}), Code::kCorrupt);
    EXPECT_EQ(refused({chain(10, w.segment(10, 1, 1, 3)), chain(11, w.segment(11, 1, 4, 4))}), Code::kCorrupt)
        << "the same roll twice";
}

TEST(RecoveryPlan, GoesOnWhereEndedSegmentsStop) {
    Writer w;
    auto const records = w.segment(20, 5, 8, 10, {}, 8);
    EXPECT_EQ(plan({chain(20, records)}, 7, 7).last_record, RecordNumber(10));
    EXPECT_EQ(refused({chain(20, records)}, 6, 6), Code::kLost) << "record 7 is nowhere";
    EXPECT_EQ(refused({chain(20)}, 7, 9), Code::kLost) << "a former recovery served 9";
}

// A recovery wrote the tail 8..10 into its own segment, listed it, and died: for the next one the tail counts as
// acknowledged, though no record says so, and lies in a listed segment that goes on after the ended ones (commit
// 3e7c961).
TEST(RecoveryPlan, WhatAFormerRecoveryKeptIsAcknowledged) {
    Writer w;
    auto const p = plan({chain(20, w.segment(20, 6, 8, 10, {}, 7))}, 7, 10);
    EXPECT_EQ(p.mark, RecordNumber(10));
    EXPECT_FALSE(p.tail_chain);
    ASSERT_EQ(p.ends.size(), 1U);
    EXPECT_EQ(p.ends[0], (StatedEnd{20, 3 * k_block_bytes, RecordNumber(10)}));
    EXPECT_EQ(refused({chain(20, w.segment(20, 6, 8, 9, {}, 7))}, 7, 10), Code::kLost);
}

TEST(RecoveryPlan, RollNumbersGoOn) {
    auto const p = plan_recovery({chain(10)}, RecordNumber(3), RecordNumber(3), 9);
    ASSERT_TRUE(p);
    EXPECT_EQ(p->roll, 9U);
    Writer w;
    EXPECT_EQ(plan_recovery({chain(10, w.segment(10, 12, 1, 1))}, {}, {}, 9)->roll, 12U);
}

TEST(SegmentSweeper, OnlyWhatIsNotListedAndBelowTheHorizonIsDead) {
    pb::Stream stream;
    stream.set_space(k_space.v);
    stream.set_horizon(100);
    for (u64 seq : {50, 120}) stream.add_segments()->set_seq(seq);
    auto const id = [](u64 seq, u64 space = k_space.v) { return SegmentId{SpaceId(space), seq}; };
    auto const dead = dead_segments(stream, {id(50), id(60), id(99), id(100), id(110), id(120), id(60, 8)});
    EXPECT_EQ(dead, (std::vector<SegmentId>{id(60), id(99)}))
        << "100 may be one that is being prepared, and is listed next";
}

TEST(Fences, OneIsEnoughUnlessAnotherReplicaLives) {
    EXPECT_EQ(fences_needed(3, 3, 0, 0), 1U);
    EXPECT_EQ(fences_needed(3, 3, 1, 0), 1U);
    EXPECT_EQ(fences_needed(3, 3, 1, 1), 2U) << "one rotten replica decides no end while another lives";
    EXPECT_EQ(fences_needed(3, 3, 1, 2), 2U);
    EXPECT_EQ(fences_needed(3, 3, 0, 3), 1U);
    EXPECT_EQ(fences_needed(1, 1, 1, 0), 1U);
    EXPECT_EQ(fences_needed(3, 2, 2, 1), 3U) << "quorum: R - W + 1, and one";
    EXPECT_EQ(fences_needed(3, 2, 2, 0), 2U);
}

}  // namespace
}  // namespace corelet
