// Requests that come back after an acknowledgement travel together again.
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "stream/owner_core.h"

namespace corelet {
namespace {

constexpr CoreletId k_replica{7};

class Gathering : public ::testing::Test {
  protected:
    Gathering() : core_(start(), OwnerOptions{}, now_) {}

    static OwnerStart start() {
        OwnerStart out;
        out.space = SpaceId(1);
        out.epoch = Epoch(1);
        out.open = LogSegment{SegmentId{SpaceId(1), make_seq(Epoch(1), 1)}, 99, {k_replica}};
        return out;
    }
    void submit(u32 count) {
        for (u32 i = 0; i < count; ++i) {
            LogEntry entry;
            entry.blocks = BufferChain(Buffer::zeroed(k_block_bytes));
            entry.crcs = block_crcs(entry.blocks);
            core_.submit(++requests_, std::move(entry), now_);
        }
    }
    void pass(Duration time) { now_ = now_ + time; }
    // Entries that left just now, a record or none.
    usize flush() {
        OwnerEffects effects;
        core_.flush(now_, effects);
        return note(effects);
    }
    usize tick() {
        OwnerEffects effects;
        core_.tick(now_, effects);
        return note(effects);
    }
    usize answer() {
        OwnerEffects effects;
        core_.appended(core_.open_segment()->id, k_replica, last_, now_, effects);
        return note(effects);
    }
    usize note(const OwnerEffects& effects) {
        usize sent = 0;
        for (const OwnerEffect& effect : effects)
            if (auto const* record = std::get_if<owner_effect::SendRecord>(&effect)) {
                last_ = record->number;
                EXPECT_EQ(record->bytes_crc, crc32c_chain(record->bytes));
                sent += record->bytes.size() / k_block_bytes - 1;
            }
        return sent;
    }

    Instant now_{1'000'000'000};
    OwnerCore core_;
    u64 requests_ = 0;
    RecordNumber last_;
};

TEST_F(Gathering, SoManyAreWaitedForAsThereWere) {
    submit(4);
    EXPECT_EQ(flush(), 4U);
    pass(1_ms);
    EXPECT_EQ(answer(), 0U);
    submit(3);
    EXPECT_EQ(flush(), 0U) << "one more may come";
    submit(1);
    EXPECT_EQ(flush(), 4U) << "all are here";
}

TEST_F(Gathering, NotForLong) {
    submit(4);
    ASSERT_EQ(flush(), 4U);
    pass(1_ms);
    ASSERT_EQ(answer(), 0U);
    submit(1);
    EXPECT_EQ(flush(), 0U);
    EXPECT_EQ(core_.next_tick(), now_ + OwnerOptions{}.gather_max);
    pass(OwnerOptions{}.gather_max);
    EXPECT_EQ(tick(), 1U);
}

TEST_F(Gathering, AFourthOfWhatARecordTakesAtMost) {
    submit(4);
    ASSERT_EQ(flush(), 4U);
    pass(100_us);
    ASSERT_EQ(answer(), 0U);
    submit(1);
    EXPECT_EQ(flush(), 0U);
    EXPECT_EQ(core_.next_tick(), now_ + 25_us);
}

TEST_F(Gathering, WhoIsAloneNeverWaits) {
    for (int i = 0; i < 5; ++i) {
        submit(1);
        EXPECT_EQ(flush(), 1U);
        pass(1_ms);
        EXPECT_EQ(answer(), 0U);
    }
}

TEST_F(Gathering, WhatWaitedDuringTheRecordCountsAsCompany) {
    submit(2);
    ASSERT_EQ(flush(), 2U);
    submit(2);
    EXPECT_EQ(flush(), 0U);
    pass(1_ms);
    EXPECT_EQ(answer(), 0U) << "the two that were answered are likely to come again";
    submit(2);
    EXPECT_EQ(flush(), 4U);
}

TEST_F(Gathering, MuchDataLeavesAtOnce) {
    submit(40);
    ASSERT_EQ(flush(), 40U);
    pass(1_ms);
    ASSERT_EQ(answer(), 0U);
    submit(static_cast<u32>(OwnerOptions{}.pipeline_bytes / k_block_bytes));
    EXPECT_GT(flush(), 0U);
}

}  // namespace
}  // namespace corelet
