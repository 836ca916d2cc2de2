#include "base/checksum.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet {
namespace {

Buffer random_buffer(u64 seed, usize size) {
    Prng rng(seed);
    Buffer out = Buffer::allocate(size);
    for (u8& byte : out.mutable_bytes()) byte = static_cast<u8>(rng.next());
    return out;
}

TEST(Crc32c, KnownAnswer) {  // RFC 3720 B.4, and the customary check string
    EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
    EXPECT_EQ(crc32c(Buffer::zeroed(32)), 0x8A9136AAU);
    EXPECT_EQ(crc32c(Bytes{}), 0U);
}

TEST(Crc32c, ZeroBlockConstant) {
    EXPECT_EQ(crc32c_zero_block(), crc32c(Buffer::zeroed(k_block_bytes)));
}

TEST(Crc32c, ContinuesAndCombines) {
    Buffer const data = random_buffer(1, 10'000);
    for (usize cut : {0UL, 1UL, 511UL, 4096UL, 9'999UL, 10'000UL}) {
        u32 const a = crc32c(data.slice(0, cut));
        u32 const b = crc32c(data.slice(cut));
        EXPECT_EQ(crc32c(data.slice(cut), a), crc32c(data));
        EXPECT_EQ(crc32c_combine(a, b, data.size() - cut), crc32c(data));
    }
}

TEST(BlockCrc, EqualsTheCrcOfPlaceAndData) {
    Buffer const data = random_buffer(2, k_block_bytes);
    Place const place{11, 22, 33};
    u32 const whole = crc32c(data, crc32c({reinterpret_cast<const u8*>(&place), sizeof place}));
    EXPECT_EQ(bind_block_crc(crc32c(data), place), whole);
    EXPECT_EQ(unbind_block_crc(whole, place), crc32c(data));
    EXPECT_NE(bind_block_crc(crc32c(data), Place{11, 22, 34}), whole);
}

}  // namespace
TEST(Checksum, OfBlocksIsThatOfTheirBytes) {
    Buffer data = Buffer::allocate(3 * k_block_bytes);
    for (usize i = 0; i < data.size(); ++i) data.mutable_data()[i] = static_cast<u8>(i * 7 + i / 4096);
    u32 const before = crc32c(data.bytes().first(100));
    EXPECT_EQ(crc32c_of_blocks(block_crcs(BufferChain(data))), crc32c(data.bytes()));
    EXPECT_EQ(crc32c_of_blocks(block_crcs(BufferChain(data)), before), crc32c(data.bytes(), before));
    EXPECT_EQ(crc32c_of_blocks({}, before), before);
}

}  // namespace corelet
