// The read lease, lag, and rolls that are no failure.
#include "stream/owner_core_testing.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

using namespace owner_driver;

TEST(OwnerCore, TheLeaseCountsFromTheFirstSending) {
    Driver d;
    EXPECT_FALSE(d.core->holds_lease(d.now)) << "no promise yet";
    d.tick();
    ASSERT_EQ(d.beats.size(), 3U);
    Instant const sent = d.now;
    d.pass(300_ms);
    d.beat(1, sent);
    d.beat(2, sent);
    EXPECT_FALSE(d.core->holds_lease(d.now)) << "of all replicas";
    d.beat(3, sent);
    EXPECT_TRUE(d.core->holds_lease(d.now));
    StreamTimes const times;
    d.now = sent + times.lease - times.lease_margin - 1_ms;
    EXPECT_TRUE(d.core->holds_lease(d.now));
    d.pass(1_ms);
    EXPECT_FALSE(d.core->holds_lease(d.now)) << "not from the answer";
    // An append renews, from its sending.
    Instant const write_sent = d.now;
    d.write(1);
    d.pass(400_ms);
    d.everywhere(6);
    EXPECT_TRUE(d.core->holds_lease(d.now));
    d.now = write_sent + times.lease - times.lease_margin;
    EXPECT_FALSE(d.core->holds_lease(d.now));
}

TEST(OwnerCore, AnOldAnswerNeverShortensTheLease) {
    Driver d;
    d.tick();
    Instant const first = d.now;
    d.pass(700_ms);
    for (u64 replica : {1, 2, 3}) d.beat(replica, d.now);
    for (u64 replica : {1, 2, 3}) d.beat(replica, first);
    StreamTimes const times;
    d.now = first + times.lease;
    EXPECT_TRUE(d.core->holds_lease(d.now));
}

TEST(OwnerCore, TheLeaseOfTheOldSegmentIsNotKeptOverARoll) {
    Driver d({segment_of(11, {1, 2, 4})});
    d.tick();
    for (u64 replica : {1, 2, 3}) d.beat(replica, d.now);
    ASSERT_TRUE(d.core->holds_lease(d.now));
    d.beats.clear();
    d.failed(3);
    ASSERT_EQ(d.open(), 11U);
    EXPECT_FALSE(d.core->holds_lease(d.now)) << "1 and 2 promised for another segment";
    ASSERT_EQ(d.beats.size(), 3U) << "asked at once";
    d.beat(1, d.now, 10);
    for (u64 replica : {2, 4}) d.beat(replica, d.now, 11);
    EXPECT_FALSE(d.core->holds_lease(d.now));
    d.beat(1, d.now, 11);
    EXPECT_TRUE(d.core->holds_lease(d.now));
    d.core->stop();
    EXPECT_FALSE(d.core->holds_lease(d.now)) << "a release is the last word";
}

// Records that take so long everywhere, until the median is that.
void warm_up(Driver& d, Duration latency, u64 records, u64 first = 6) {
    for (u64 number = first; number < first + records; ++number) {
        d.write(number);
        d.pass(latency);
        d.everywhere(number, d.open());
    }
}

TEST(OwnerCore, LagRollsOnlyToCoreletsThatAnswerFaster) {
    Driver d({segment_of(11, {1, 4, 5})});
    warm_up(d, 5_ms, 10);
    d.write(50);
    d.appended(1, 16);
    d.appended(3, 16);
    d.pass(100_ms);
    d.tick();
    EXPECT_EQ(d.open(), 10U) << "nobody knows whether the standby is any faster";
    ASSERT_EQ(d.measures.size(), 1U);
    d.core->set_latency_hint(CoreletId(1), 5_ms, d.now);
    d.core->set_latency_hint(CoreletId(4), 150_ms, d.now);
    d.core->set_latency_hint(CoreletId(5), 5_ms, d.now);
    d.pass(30_ms);
    d.tick();
    EXPECT_EQ(d.open(), 10U) << "4 is as slow";
    d.core->set_latency_hint(CoreletId(4), 5_ms, d.now);
    d.pass(30_ms);
    d.tick();
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, LagBelowItsLimitDoesNotRoll) {
    Driver d({segment_of(11, {1, 4, 5})});
    warm_up(d, 50_ms, 10);
    for (u64 id : {1, 4, 5}) d.core->set_latency_hint(CoreletId(id), 1_ms, d.now);
    d.write(50);
    d.pass(199_ms);
    d.tick();
    EXPECT_EQ(d.open(), 10U) << "less than four times the median";
    d.pass(1_ms);
    d.tick();
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, LagRollsOnceInTenSecondsFailureHoweverOften) {
    Driver d({segment_of(11, {1, 4, 5}), segment_of(12, {1, 6, 7}), segment_of(13, {1, 8, 9})});
    auto const lag = [&](u64 number) {
        d.write(100 + number);
        d.pass(150_ms);
        for (u64 id = 1; id <= 9; ++id) d.core->set_latency_hint(CoreletId(id), 1_ms, d.now);
        d.tick();
    };
    lag(6);
    ASSERT_EQ(d.open(), 11U);
    d.everywhere(6, 11);
    lag(7);
    EXPECT_EQ(d.open(), 11U);
    d.failed(4, Code::kReset, 11);
    EXPECT_EQ(d.open(), 12U);
    d.failed(6, Code::kReset, 12);
    EXPECT_EQ(d.open(), 13U);
    d.everywhere(7, 13);
    EXPECT_EQ(d.acks.size(), 2U);
}

TEST(OwnerCore, ForSizeItRollsOnlyWhileTheCatalogIsThere) {
    OwnerOptions options;
    options.segment_target_bytes = 4 * k_block_bytes;
    Driver d({segment_of(11, {1, 2, 3}), segment_of(12, {1, 2, 3})}, options);
    d.core->set_catalog_available(false);
    warm_up(d, 1_ms, 5);
    EXPECT_EQ(d.open(), 10U) << "the open one grows";
    EXPECT_GT(d.core->open_bytes(), options.segment_target_bytes);
    d.core->set_catalog_available(true);
    warm_up(d, 1_ms, 1, 11);
    EXPECT_EQ(d.open(), 11U);
    d.core->set_catalog_available(false);
    warm_up(d, 1_ms, 8, 12);
    EXPECT_EQ(d.open(), 11U);
    d.failed(2, Code::kReset, 11);
    EXPECT_EQ(d.open(), 11U) << "12 needs the one that failed";
}

TEST(OwnerCore, OnlyForAFailureItGoesOnWithFewerCopies) {
    OwnerOptions options;
    options.segment_target_bytes = 4 * k_block_bytes;
    Driver d({segment_of(11, {1, 4})}, options);
    warm_up(d, 1_ms, 5);
    EXPECT_EQ(d.open(), 10U) << "for size";
    d.write(50);
    d.appended(1, 11);
    d.appended(3, 11);
    d.pass(150_ms);
    for (u64 id : {1, 4}) d.core->set_latency_hint(CoreletId(id), 1_ms, d.now);
    d.tick();
    EXPECT_EQ(d.open(), 10U) << "for lag";
    d.failed(2);
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, WithoutAStandbyTheOpenOneGrows) {
    OwnerOptions options;
    options.segment_target_bytes = 2 * k_block_bytes;
    Driver d({}, options);
    warm_up(d, 1_ms, 6);
    EXPECT_EQ(d.open(), 10U);
    EXPECT_EQ(d.acks.size(), 6U);
    EXPECT_FALSE(d.needs.empty());
    EXPECT_FALSE(d.needs.back().urgent);
}

TEST(OwnerCore, ARollForSizeWaitsForWhatIsInFlight) {
    OwnerOptions options;
    options.segment_target_bytes = 2 * k_block_bytes;
    options.pipeline_bytes = 1;
    Driver d({segment_of(11, {1, 2, 3})}, options);
    d.write(1);
    d.write(2);
    d.everywhere(6);
    EXPECT_EQ(d.open(), 10U);
    d.write(3);
    EXPECT_EQ(d.sent.size(), 6U) << "what is new waits for the new segment";
    d.everywhere(7);
    EXPECT_EQ(d.open(), 11U);
    ASSERT_EQ(d.ends.size(), 1U);
    EXPECT_EQ(d.ends[0].last_record, RecordNumber(7));
    d.everywhere(8, 11);
    EXPECT_EQ(d.acks.size(), 3U);
}

TEST(OwnerCore, AnIdleSegmentIsEnded) {
    Driver d({segment_of(11, {1, 2, 3})});
    d.pass(5_s);
    d.tick();
    d.answer();
    EXPECT_EQ(d.open(), 10U) << "nothing is in it";
    d.write(1);
    d.everywhere(6);
    d.pass(1900_ms);
    d.tick();
    d.answer();
    EXPECT_EQ(d.open(), 10U);
    d.pass(100_ms);
    d.tick();
    EXPECT_EQ(d.open(), 11U);
}

TEST(OwnerCore, AWithdrawnStandbyIsNeverUsed) {
    Driver d({segment_of(11, {1, 3, 4}), segment_of(12, {1, 3, 5})});
    EXPECT_TRUE(d.core->withdraw_standby(SegmentId{k_space, 11}));
    d.failed(2);
    EXPECT_EQ(d.open(), 12U);
    EXPECT_FALSE(d.core->withdraw_standby(SegmentId{k_space, 12})) << "it is the open one by now";
    d.failed(3, Code::kReset, 12);
    EXPECT_TRUE(d.core->is_stuck());
}

TEST(OwnerCore, RollsBackToFullWidth) {
    Driver d;
    d.write(1);
    d.failed(2);
    d.listed(segment_of(11, {1, 3}));  // narrow, activated
    ASSERT_EQ(d.open(), 11U);
    d.everywhere(6, 11);
    d.listed(segment_of(12, {1, 2, 3}));
    d.call([&](OwnerEffects& out) { d.core->widen(d.now, out); });
    EXPECT_EQ(d.open(), 12U);
    d.call([&](OwnerEffects& out) { d.core->widen(d.now, out); });
    EXPECT_EQ(d.open(), 12U);
    EXPECT_EQ(d.ends.size(), 2U);
}

TEST(OwnerCore, ANarrowSegmentWithoutRecordsIsLeftAtOnce) {
    Driver d;
    d.failed(2);
    d.listed(segment_of(11, {1, 3}));
    ASSERT_EQ(d.open(), 11U);
    d.listed(segment_of(12, {1, 2, 3}));
    d.call([&](OwnerEffects& out) { d.core->widen(d.now, out); });
    EXPECT_EQ(d.open(), 12U);
    d.write(1);
    d.everywhere(6, 12);
    EXPECT_EQ(d.acks.size(), 1U);
}

TEST(OwnerCore, KnowsSinceWhenNothingGotThrough) {
    Driver d;
    EXPECT_FALSE(d.core->blocked_since());
    Instant const since = d.now;
    d.write(1);
    d.pass(1_s);
    d.write(2);
    EXPECT_EQ(d.core->blocked_since(), since);
    d.everywhere(6);
    EXPECT_EQ(d.core->blocked_since(), d.now) << "the second still waits";
    d.everywhere(7);
    EXPECT_FALSE(d.core->blocked_since());
}

TEST(OwnerCore, GoesOnWhereRecoveryWrote) {
    OwnerStart start;
    start.space = k_space;
    start.epoch = Epoch(4);
    start.last_record = RecordNumber(9);
    start.roll = 3;
    start.open = segment_of(10, {1});
    start.open_end_bytes = 3 * k_block_bytes;
    start.open_previous_crc = 77;
    Driver d;
    d.core.emplace(std::move(start), OwnerOptions{}, d.now);
    d.write(1);
    auto const records = d.records(10, 310, 1);
    ASSERT_EQ(records.size(), 1U);
    EXPECT_EQ(records[0].header.offset, 3 * k_block_bytes);
    EXPECT_EQ(records[0].header.previous_crc, 77U);
    EXPECT_EQ(records[0].header.number, RecordNumber(10));
    EXPECT_EQ(records[0].header.acknowledged, RecordNumber(9));
    EXPECT_EQ(records[0].header.roll, 3U);
}

}  // namespace
}  // namespace corelet
