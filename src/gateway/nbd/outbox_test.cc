#include "gateway/nbd/outbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet::nbd {
namespace {

void add_simple(Outbox& outbox, u64 cookie) {
    usize const size = encode_simple_reply(outbox.header_room(), cookie, ErrorNumber::kNone);
    outbox.add(size, {}, 0);
    outbox.finish_reply(10, false);
}

std::vector<u8> bytes_of(const BufferChain& chain) {
    Buffer const flat = chain.flatten();
    return {flat.data(), flat.data() + flat.size()};
}

TEST(OutboxTest, HeadersOfManyRepliesAreOnePart) {
    Outbox outbox;
    EXPECT_TRUE(outbox.empty());
    for (u64 i = 0; i < 32; ++i) add_simple(outbox, i);
    ReplyBatch const batch = outbox.take();
    EXPECT_TRUE(outbox.empty());
    EXPECT_EQ(batch.chain.parts().size(), 1U);
    EXPECT_EQ(batch.chain.size(), 32 * k_simple_reply_bytes);
    EXPECT_EQ(batch.replies, 32U);
    EXPECT_EQ(batch.held_bytes, 320U);
    EXPECT_FALSE(batch.whole_lane);
}

TEST(OutboxTest, DataAreSharedNotCopied) {
    Outbox outbox;
    Buffer const data = Buffer::zeroed(4096);
    outbox.add(encode_data_chunk(outbox.header_room(), 1, true, 0, 4096), data, 5);
    outbox.finish_reply(1, true);
    ReplyBatch const batch = outbox.take();
    ASSERT_EQ(batch.chain.parts().size(), 2U);
    EXPECT_EQ(batch.chain.parts()[1].data(), data.data());
    EXPECT_EQ(batch.held_bytes, 6U);
    EXPECT_TRUE(batch.whole_lane);
}

TEST(OutboxTest, BatchesCloseWhenFull) {
    Outbox outbox;
    Buffer const data = Buffer::allocate(k_batch_bytes / 2);
    for (u64 i = 0; i < 5; ++i) {
        outbox.add(encode_data_chunk(outbox.header_room(), i, true, 0, k_batch_bytes / 2), data, 1);
        outbox.finish_reply(0, false);
        add_simple(outbox, 100 + i);
    }
    std::vector<u32> replies;
    while (!outbox.empty()) replies.push_back(outbox.take().replies);
    EXPECT_THAT(replies, testing::ElementsAre(3U, 4U, 3U));
}

// Whatever is put in comes out in order, byte for byte, over page changes and takes in between.
TEST(OutboxTest, KeepsOrderOverPagesAndBatches) {
    Prng dice(3);
    Outbox outbox;
    std::vector<u8> expected;
    std::vector<u8> got;
    u32 replies = 0;
    for (int i = 0; i < 3000; ++i) {
        u8* const room = outbox.header_room();
        usize size = 0;
        BufferChain data;
        if (dice.chance(1, 3)) {
            size = encode_error_chunk(room, dice.next(), true, ErrorNumber::kIo, std::string(dice.below(200), 'e'));
        } else if (dice.chance(1, 2)) {
            size = encode_simple_reply(room, dice.next(), ErrorNumber::kNone);
        } else {
            Buffer part = Buffer::allocate(1 + dice.below(3000));
            std::fill_n(part.mutable_data(), part.size(), static_cast<u8>(dice.next()));
            size = encode_data_chunk(room, dice.next(), true, 0, static_cast<u32>(part.size()));
            data.append(part);
            data.append(part);
        }
        expected.insert(expected.end(), room, room + size);
        std::vector<u8> const flat = bytes_of(data);
        expected.insert(expected.end(), flat.begin(), flat.end());
        outbox.add(size, data, 0);
        outbox.finish_reply(0, false);
        if (dice.chance(1, 50)) {
            expected.insert(expected.end(), {1, 2, 3});
            outbox.add_whole(Buffer::copy_of(std::vector<u8>{1, 2, 3}), 0);
            outbox.finish_reply(0, false);
        }
        while (dice.chance(1, 20) && !outbox.empty()) {
            ReplyBatch const batch = outbox.take();
            std::vector<u8> const sent = bytes_of(batch.chain);
            got.insert(got.end(), sent.begin(), sent.end());
            replies += batch.replies;
        }
    }
    while (!outbox.empty()) {
        std::vector<u8> const sent = bytes_of(outbox.take().chain);
        got.insert(got.end(), sent.begin(), sent.end());
    }
    EXPECT_EQ(got, expected);
    EXPECT_GT(replies, 0U);
}

}  // namespace
}  // namespace corelet::nbd
