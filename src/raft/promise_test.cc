#include "raft/promise.h"

#include <gtest/gtest.h>

#include "raft/codec.h"
#include "raft/scenario_testing.h"

namespace corelet::raft::testing {
namespace {

// Log: 1@1 (configuration), then entries of the given terms from index 2 on.
Restored readable(std::vector<u64> terms, Index commit) {
    Restored out = with_log(3, terms, 9);
    out.hard_state.commit = commit;
    return out;
}
Index last_of(const Restored& restored) {
    return restored.entries.back().at.index;
}

TEST(Promise, SurvivesItsEncodingAndNothingElseParses) {
    Promise const promise{Term(7), CoreletId(3), {Term(6), 12}, {Term(5), 14}, 11};
    std::vector<u8> bytes = encode_promise(promise);
    ASSERT_LE(bytes.size(), 128U);
    EXPECT_EQ(decode_promise(bytes), promise);
    bytes.pop_back();
    EXPECT_FALSE(decode_promise(bytes));
    EXPECT_FALSE(decode_promise({}));
    EXPECT_FALSE(decode_promise(encode_promise({Term(7), {}, {Term(8), 1}, {}, 0}))) << "newer than its own term";
}

TEST(Promise, TermAndVoteAreThoseOfTheLostBatch) {
    Result<Restored> const restored = restored_from_rot(readable({9}, 1), {Term(12), k_3, {Term(9), 2}, {}, 0}, 1);
    ASSERT_TRUE(restored);
    EXPECT_EQ(restored->hard_state.term, Term(12));
    EXPECT_EQ(restored->hard_state.vote, k_3);
    EXPECT_EQ(restored->rotten, Position{}) << "the log itself is complete";
    EXPECT_EQ(last_of(*restored), 2U);
}

TEST(Promise, OneLostBatchLeavesTheLogBeforeIt) {
    Result<Restored> const restored =
        restored_from_rot(readable({2, 2, 2}, 1), {Term(9), {}, {Term(3), 6}, {}, 0}, 1);
    ASSERT_TRUE(restored);
    EXPECT_EQ(last_of(*restored), 4U);
    EXPECT_EQ(restored->rotten, (Position{Term(3), 6}));
}

TEST(Promise, WhatALostBatchVoidedIsNotKept) {
    Result<Restored> const restored =
        restored_from_rot(readable({2, 2, 2}, 1), {Term(9), {}, {Term(3), 4}, {}, 3}, 1);
    ASSERT_TRUE(restored);
    EXPECT_EQ(last_of(*restored), 2U);
    EXPECT_EQ(restored->rotten, (Position{Term(3), 4}));
}

TEST(Promise, SeveralLostBatchesLeaveOnlyWhatIsCommitted) {
    Result<Restored> const restored =
        restored_from_rot(readable({2, 2, 2}, 3), {Term(9), {}, {Term(3), 6}, {}, 0}, 2);
    ASSERT_TRUE(restored);
    EXPECT_EQ(last_of(*restored), 3U);
    EXPECT_EQ(restored->rotten, (Position{Term(3), 6}));
}

TEST(Promise, TheSameLastEntryMeansTheSameLog) {
    // Lost batches cut the log back to 3@2 and changed nothing else.
    Result<Restored> const restored =
        restored_from_rot(readable({2, 2, 2}, 1), {Term(9), {}, {Term(2), 3}, {}, 4}, 2);
    ASSERT_TRUE(restored);
    EXPECT_EQ(last_of(*restored), 3U);
    EXPECT_EQ(restored->rotten, Position{});
}

TEST(Promise, ContradictionsAreForgotten) {
    EXPECT_EQ(restored_from_rot(readable({2}, 1), {Term(3), {}, {Term(3), 3}, {}, 0}, 1).error().code,
              Code::kForgotten)
        << "the readable part is newer";
    EXPECT_EQ(restored_from_rot(readable({2, 2, 2}, 4), {Term(9), {}, {Term(3), 3}, {}, 0}, 1).error().code,
              Code::kForgotten)
        << "something committed would have been voided";
}

TEST(Promise, WithNothingReadableTheCoreStartsBarred) {
    Result<Restored> restored = restored_from_rot({}, {Term(9), k_3, {Term(3), 6}, {}, 0}, 9);
    ASSERT_TRUE(restored);
    Result<Core> core = Core::restore(k_2, {}, *restored, Prng(1), Instant{});
    ASSERT_TRUE(core);
    EXPECT_TRUE(core->barred());
    EXPECT_EQ(core->term(), Term(9));
}

}  // namespace
}  // namespace corelet::raft::testing
