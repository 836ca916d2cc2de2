#include "stream/owner_core_testing.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

using namespace owner_driver;

TEST(OwnerCore, AcknowledgesOnlyWhatAllReplicasHave) {
    Driver d;
    d.write(1);
    ASSERT_EQ(d.sent.size(), 3U);
    EXPECT_EQ(d.sent[0].number, RecordNumber(6)) << "numbers go on after what recovery kept";
    d.appended(1, 6);
    d.appended(2, 6);
    EXPECT_TRUE(d.acks.empty());
    d.appended(3, 6);
    ASSERT_EQ(d.acks.size(), 1U);
    EXPECT_EQ(std::get<0>(d.acks[0]), 1U);
    EXPECT_EQ(d.core->last_acknowledged(), RecordNumber(6));
}

TEST(OwnerCore, AcknowledgesInOrder) {
    OwnerOptions options;
    options.pipeline_bytes = 1;
    Driver d({}, options);
    d.write(1);
    d.write(2);
    ASSERT_EQ(d.sent.size(), 6U) << "both are in flight";
    // Two replicas answer the second first: their answer covers the first too, the third has only the first.
    d.appended(1, 7);
    d.appended(2, 7);
    EXPECT_TRUE(d.acks.empty());
    d.appended(3, 6);
    ASSERT_EQ(d.acks.size(), 1U);
    EXPECT_EQ(std::get<0>(d.acks[0]), 1U);
    d.appended(3, 7);
    ASSERT_EQ(d.acks.size(), 2U);
    EXPECT_EQ(std::get<0>(d.acks[1]), 2U);
    EXPECT_EQ(std::get<1>(d.acks[1]), 7U);
}

TEST(OwnerCore, WhatArrivesTogetherTravelsTogether) {
    Driver d;
    for (u64 request = 1; request <= 5; ++request) d.submit(request);
    d.flush();
    ASSERT_EQ(d.sent.size(), 3U) << "one record, to three replicas";
    // While it is in flight small requests gather.
    for (u64 request = 6; request <= 8; ++request) d.write(request);
    EXPECT_EQ(d.sent.size(), 3U);
    d.everywhere(6);
    EXPECT_EQ(d.acks.size(), 5U);
    ASSERT_EQ(d.sent.size(), 6U);
    d.everywhere(7);
    ASSERT_EQ(d.acks.size(), 8U);
    for (u64 i = 0; i < 8; ++i) EXPECT_EQ(std::get<0>(d.acks[i]), i + 1) << "in the order of submission";
    auto const records = d.records(10, 310, 2);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[1].header.acknowledged, RecordNumber(6));
    EXPECT_EQ(records[1].header.previous_crc, records[0].header.crc);
    EXPECT_EQ(records[1].header.offset, records[0].header.size_bytes());
    EXPECT_EQ(std::get<2>(d.acks[0]).first_block, records[0].entry_first_block[0]);
    EXPECT_EQ(std::get<2>(d.acks[7]).first_block, records[1].entry_first_block[2]);
}

TEST(OwnerCore, ARecordStaysWithinItsBounds) {
    Driver d;
    for (u64 request = 1; request <= 3; ++request) d.submit(request, k_entry_blocks_max);
    d.flush();
    for (const SendRecord& send : d.sent)
        EXPECT_LE(send.bytes.size(), (k_record_data_blocks_max + 16) * u64{k_block_bytes});
    auto const records = d.records(10, 310, 1);
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(records[0].entries.size(), 2U);
    EXPECT_EQ(records[1].entries.size(), 1U);
}

TEST(OwnerCore, FailureRollsAndSendsAgainInOrder) {
    OwnerOptions options;
    options.pipeline_bytes = 1;
    Driver d({segment_of(11, {1, 3, 4})}, options);
    d.write(1);
    d.everywhere(6);
    d.write(2);
    d.write(3);
    d.appended(1, 8);
    d.appended(3, 8);
    u64 const acked_bytes = d.records(10, 310, 1)[0].header.size_bytes();
    d.failed(2);
    EXPECT_EQ(d.open(), 11U);
    ASSERT_EQ(d.ends.size(), 1U);
    EXPECT_EQ(d.ends[0], (StatedEnd{10, acked_bytes, RecordNumber(6)}))
        << "the end is what was acknowledged, not what was sent";
    ASSERT_FALSE(d.needs.empty());
    auto const records = d.records(11, 11 * 31, 4);
    ASSERT_FALSE(records.empty());
    EXPECT_EQ(records[0].header.number, RecordNumber(7));
    EXPECT_EQ(records[0].header.roll, 2U);
    EXPECT_EQ(records[0].header.acknowledged, RecordNumber(6));
    EXPECT_EQ(records[0].header.ends, (std::vector<StatedEnd>{{10, acked_bytes, RecordNumber(6)}}));
    // Late answers of the old segment count for nothing.
    d.appended(2, 8);
    EXPECT_EQ(d.acks.size(), 1U);
    d.appended(1, 7, 11);
    d.appended(3, 7, 11);
    EXPECT_EQ(d.acks.size(), 1U);
    d.appended(4, 7, 11);
    ASSERT_EQ(d.acks.size(), 3U) << "what was two records is one now";
    EXPECT_EQ(std::get<0>(d.acks[1]), 2U);
    EXPECT_EQ(std::get<0>(d.acks[2]), 3U);
    EXPECT_EQ(std::get<2>(d.acks[1]).segment.seq, 11U);
}

TEST(OwnerCore, StatesTheEndsOfAllSegmentsUsedBeforeUntilTheyAreCommitted) {
    Driver d({segment_of(11, {1, 3, 4}), segment_of(12, {1, 3, 5}), segment_of(13, {1, 5, 6}),
              segment_of(14, {1, 6, 7})});
    d.write(1);
    d.everywhere(6);
    d.failed(2);
    ASSERT_EQ(d.open(), 11U);
    d.failed(4, Code::kReset, 11);  // opened, and nothing acknowledged in it
    ASSERT_EQ(d.open(), 12U);
    d.write(2);
    auto records = d.records(12, 12 * 31, 5);
    ASSERT_EQ(records.size(), 1U);
    ASSERT_EQ(records[0].header.ends.size(), 2U) << "not the predecessor's only";
    EXPECT_EQ(records[0].header.ends[0].seq, 10U);
    EXPECT_EQ(records[0].header.ends[1], (StatedEnd{11, 0, RecordNumber(6)}));
    EXPECT_EQ(records[0].header.roll, 3U);
    d.core->end_committed(SegmentId{k_space, 10});
    d.failed(3, Code::kReset, 12);
    ASSERT_EQ(d.open(), 13U);
    records = d.records(13, 13 * 31, 6);
    ASSERT_EQ(records.size(), 1U);
    ASSERT_EQ(records[0].header.ends.size(), 2U);
    EXPECT_EQ(records[0].header.ends[0].seq, 11U);
    EXPECT_EQ(records[0].header.ends[1].seq, 12U);
    EXPECT_EQ(d.ends.size(), 3U);
    EXPECT_EQ(d.ends[1].seq, 11U) << "committed in the order of use";
}

TEST(OwnerCore, AStandbyWithAFailedReplicaIsOfNoUse) {
    Driver d({segment_of(11, {1, 2, 4})});
    d.write(1);
    d.failed(2);
    EXPECT_EQ(d.open(), 10U);
    EXPECT_TRUE(d.core->is_stuck());
    ASSERT_EQ(d.needs.size(), 1U);
    EXPECT_EQ(d.needs[0].avoid, std::vector<CoreletId>{CoreletId(2)});
    EXPECT_TRUE(d.needs[0].urgent);
    d.write(2);
    EXPECT_EQ(d.sent.size(), 3U) << "nothing is sent while stuck";
    d.listed(segment_of(12, {1, 3, 5}));
    EXPECT_EQ(d.open(), 12U);
    EXPECT_FALSE(d.core->is_stuck());
    d.everywhere(6, 12);
    EXPECT_EQ(d.acks.size(), 2U);
}

TEST(OwnerCore, AStuckSegmentGoesOnWhenItsReplicaAnswersAfterAll) {
    Driver d;
    d.write(1);
    d.appended(1, 6);
    d.appended(3, 6);
    d.pass(500_ms);
    d.tick();
    EXPECT_TRUE(d.core->is_stuck());
    d.write(2);
    d.appended(2, 6);  // late, nothing was rolled
    EXPECT_EQ(d.acks.size(), 1U);
    EXPECT_FALSE(d.core->is_stuck());
    d.everywhere(7);
    EXPECT_EQ(d.acks.size(), 2U);
    EXPECT_EQ(d.open(), 10U);
}

TEST(OwnerCore, AStuckSegmentDoesNotGoOnWithoutTheRecordThatFailed) {
    Driver d;
    d.write(1);
    d.appended(1, 6);
    d.appended(3, 6);
    d.failed(2);
    ASSERT_TRUE(d.core->is_stuck());
    for (int i = 0; i < 5; ++i) {
        d.pass(800_ms);
        d.tick();
        d.answer();
    }
    EXPECT_TRUE(d.core->is_stuck()) << "it promises, but lacks a record that is never sent again";
    EXPECT_TRUE(d.acks.empty());
}

TEST(OwnerCore, NoAnswerForHalfASecondIsAFailure) {
    Driver d({segment_of(11, {1, 3, 4})});
    d.write(1);
    d.appended(1, 6);
    d.appended(3, 6);
    d.pass(499_ms);
    d.tick();
    EXPECT_EQ(d.open(), 10U);
    d.pass(1_ms);
    EXPECT_LE(d.core->next_tick(), d.now);
    d.tick();
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, SilenceOfAHeartbeatIsAFailureToo) {
    Driver d({segment_of(11, {1, 3, 4})});
    d.tick();
    ASSERT_EQ(d.beats.size(), 3U);
    d.beat(1, d.beats[0].sent);
    d.beat(3, d.beats[2].sent);
    d.pass(500_ms);
    d.tick();
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, FencedStopsAndIsNoReasonToRoll) {
    Driver d({segment_of(11, {1, 3, 4})});
    d.write(1);
    d.failed(2, Code::kFenced);
    EXPECT_EQ(d.open(), 10U);
    ASSERT_EQ(d.stops.size(), 1U);
    EXPECT_TRUE(d.core->is_stopped());
    d.everywhere(6);
    EXPECT_TRUE(d.acks.empty()) << "an owner that was refused acknowledges nothing more";
    EXPECT_FALSE(d.core->holds_lease(d.now));
}

}  // namespace
}  // namespace corelet
