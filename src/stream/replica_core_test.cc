#include "stream/replica_core.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr SegmentId k_segment{SpaceId(7), 10};
constexpr CoreletId k_owner{1}, k_next{2}, k_other{3};
constexpr Epoch k_epoch{4}, k_newer{5};

RecordHeader record(u64 number, u64 offset, u32 previous, u32 crc, Epoch epoch = k_epoch) {
    RecordHeader header;
    header.segment = k_segment;
    header.epoch = epoch;
    header.number = RecordNumber(number);
    header.offset = offset;
    header.previous_crc = previous;
    header.crc = crc;
    header.header_blocks = 1;
    return header;
}
ReplicaCore replica(Instant mounted = {}) {
    return {k_segment, k_epoch, k_owner, StreamTimes{}, mounted};
}

TEST(ReplicaCore, TakesRecordsOnlyInOrder) {
    auto core = replica();
    EXPECT_EQ(core.admit(record(9, k_block_bytes, 0, 1)).error().code, Code::kInvalid) << "a gap at the start";
    EXPECT_EQ(core.admit(record(8, 0, 55, 1)).error().code, Code::kInvalid) << "the first has none before it";
    ASSERT_TRUE(core.admit(record(8, 0, 0, 11)));
    EXPECT_FALSE(core.admit(record(8, 0, 0, 11))) << "twice";
    EXPECT_FALSE(core.admit(record(10, k_block_bytes, 11, 12))) << "a number is missing";
    EXPECT_FALSE(core.admit(record(9, k_block_bytes, 10, 12))) << "another one came before it";
    EXPECT_FALSE(core.admit(record(9, 2 * k_block_bytes, 11, 12))) << "a hole";
    ASSERT_TRUE(core.admit(record(9, k_block_bytes, 11, 12)));
    EXPECT_EQ(core.end_bytes(), 2 * k_block_bytes);
    EXPECT_EQ(core.last_record(), RecordNumber(9));
}

TEST(ReplicaCore, NobodyWritesToASegmentThatAnotherEpochOpened) {
    auto core = replica();
    EXPECT_TRUE(core.check_writer(k_epoch, k_owner));
    EXPECT_EQ(core.check_writer(Epoch(3), k_owner).error().code, Code::kFenced);
    EXPECT_EQ(core.check_writer(k_epoch, k_other).error().code, Code::kFenced) << "another owner's equal epoch";
    EXPECT_EQ(core.check_writer(k_newer, k_owner).error().code, Code::kInvalid);
    EXPECT_FALSE(core.admit(record(8, 0, 0, 11, k_newer)));
}

TEST(ReplicaCore, AFenceRefusesTheOldEpochAtOnceAndIsAnsweredWhenThePromiseHasRunOut) {
    StreamTimes const times;
    Instant const mounted{0};
    auto core = replica(mounted);
    Instant const now{10'000'000'000};
    core.promise(now);
    ASSERT_TRUE(core.fence(k_newer, k_next));
    EXPECT_EQ(core.check_writer(k_epoch, k_owner).error().code, Code::kFenced);
    EXPECT_EQ(core.admit(record(8, 0, 0, 11)).error().code, Code::kFenced);
    EXPECT_EQ(core.fence_answer_at(), now + times.lease);
    EXPECT_EQ(core.epoch(), k_newer);
    EXPECT_EQ(core.owner(), k_next);
    EXPECT_TRUE(core.is_fenced());
}

TEST(ReplicaCore, APromiseIsNeverShortened) {
    StreamTimes const times;
    auto core = replica();
    core.promise(Instant{5'000'000'000});
    core.promise(Instant{4'000'000'000});
    EXPECT_EQ(core.fence_answer_at(), Instant{5'000'000'000} + times.lease);
}

TEST(ReplicaCore, AfterARestartPromisesAreNotKnown) {
    StreamTimes const times;
    Instant const mounted{50'000'000'000};
    auto core = replica(mounted);
    ASSERT_TRUE(core.fence(k_newer, k_next));
    EXPECT_EQ(core.fence_answer_at(), mounted + times.lease);
}

TEST(ReplicaCore, FencesOnlyGrow) {
    auto core = replica();
    EXPECT_EQ(core.fence(Epoch(3), k_next).error().code, Code::kFenced);
    EXPECT_EQ(core.fence(k_epoch, k_next).error().code, Code::kFenced);
    EXPECT_EQ(core.fence(k_epoch, k_owner).error().code, Code::kInvalid) << "an owner does not fence itself";
    ASSERT_TRUE(core.fence(k_newer, k_next));
    EXPECT_TRUE(core.fence(k_newer, k_next)) << "asked again";
    EXPECT_EQ(core.fence(k_newer, k_other).error().code, Code::kFenced);
    EXPECT_EQ(core.fence(k_epoch, k_owner).error().code, Code::kFenced);
    ASSERT_TRUE(core.fence(Epoch(6), k_other));
    EXPECT_EQ(core.check_writer(k_newer, k_next).error().code, Code::kFenced)
        << "who fenced it may not write to it either";
}

TEST(ReplicaCore, AReleaseEndsPromisesAndIsTheLastWord) {
    auto core = replica(Instant{0});
    StreamTimes const times;
    core.promise(Instant{10'000'000'000});
    EXPECT_FALSE(core.release(Epoch(3), k_owner));
    EXPECT_FALSE(core.release(k_epoch, k_other));
    EXPECT_EQ(core.fence_answer_at(), Instant{10'000'000'000} + times.lease);
    ASSERT_TRUE(core.release(k_epoch, k_owner));
    EXPECT_EQ(core.fence_answer_at(), Instant{0} + times.lease) << "a restart's wait stays";
    EXPECT_FALSE(core.check_writer(k_epoch, k_owner)) << "nothing of that epoch counts any more";
    EXPECT_FALSE(core.admit(record(8, 0, 0, 11)));
    EXPECT_TRUE(core.fence(k_newer, k_next));
}

TEST(ReplicaCore, AScanStopsAtTheFirstThatDoesNotFit) {
    auto core = replica();
    EXPECT_TRUE(core.restore(record(8, 0, 0, 11)));
    EXPECT_FALSE(core.restore(record(10, k_block_bytes, 11, 12)));
    EXPECT_TRUE(core.restore(record(9, k_block_bytes, 11, 12)));
    EXPECT_EQ(core.end_bytes(), 2 * k_block_bytes);
}

}  // namespace
}  // namespace corelet
