#include "ec/geometry.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet::ec {
namespace {

TEST(ChunkGeometry, RefusesWhatIsNoChunk) {
    EXPECT_EQ(ChunkGeometry::make(0, 4).error().code, Code::kInvalid);
    EXPECT_EQ(ChunkGeometry::make(4095, 4).error().code, Code::kInvalid);
    EXPECT_EQ(ChunkGeometry::make(64 * k_mib + 4096, 4).error().code, Code::kInvalid);
    EXPECT_EQ(ChunkGeometry::make(4096, 0).error().code, Code::kInvalid);
    EXPECT_EQ(ChunkGeometry::make(4096, 17).error().code, Code::kInvalid);
}

TEST(ChunkGeometry, FragmentLengths) {
    EXPECT_EQ(ChunkGeometry::make(8 * k_mib, 4)->fragment_bytes(), 2 * k_mib);
    EXPECT_EQ(ChunkGeometry::make(8 * k_mib, 3)->fragment_bytes(), 683 * 4096u);
    EXPECT_EQ(ChunkGeometry::make(4096, 16)->fragment_bytes(), 4096u);
    EXPECT_EQ(ChunkGeometry::make(4096, 16)->filled_bytes(0), 4096u);
    EXPECT_EQ(ChunkGeometry::make(4096, 16)->filled_bytes(1), 0u);
    EXPECT_EQ(ChunkGeometry::make(8 * k_mib, 1)->fragment_bytes(), 8 * k_mib);
}

TEST(ChunkGeometry, SmallRangeLiesInOneFragment) {
    auto const geometry = ChunkGeometry::make(8 * k_mib, 4).value();
    auto const parts = geometry.locate(5 * k_mib + 4096, 4096).value();
    ASSERT_EQ(parts.size(), 1u);
    EXPECT_EQ(parts[0], (FragmentRange{2, k_mib + 4096, 4096, 0}));
    auto const crossing = geometry.locate(2 * k_mib - 512, 1024).value();
    ASSERT_EQ(crossing.size(), 2u);
    EXPECT_EQ(crossing[0], (FragmentRange{0, 2 * k_mib - 512, 512, 0}));
    EXPECT_EQ(crossing[1], (FragmentRange{1, 0, 512, 512}));
    EXPECT_TRUE(geometry.locate(8 * k_mib, 0).value().empty());
    EXPECT_EQ(geometry.locate(8 * k_mib - 1, 2).error().code, Code::kInvalid);
    EXPECT_EQ(geometry.locate(~u64{0}, 2).error().code, Code::kInvalid);
}

TEST(ChunkGeometry, SplitAndLocateAgree) {
    Prng rng(7);
    for (int round = 0; round < 200; ++round) {
        u64 const data_bytes = rng.between(1, 40) * k_block_bytes;
        auto const geometry = ChunkGeometry::make(data_bytes, static_cast<unsigned>(rng.between(1, 16))).value();
        Buffer chunk = Buffer::allocate(data_bytes);
        for (u8& byte : chunk.mutable_bytes()) byte = static_cast<u8>(rng.next());
        std::vector<Buffer> fragments;
        for (const BufferChain& fragment : geometry.split(chunk)) fragments.push_back(fragment.flatten());
        ASSERT_EQ(fragments.size(), geometry.k());
        for (unsigned i = 0; i < geometry.k(); ++i) {
            ASSERT_EQ(fragments[i].size(), geometry.fragment_bytes());
            EXPECT_TRUE(is_all_zero(fragments[i].bytes().subspan(geometry.filled_bytes(i))));
        }
        u64 const offset = rng.below(data_bytes);
        u64 const length = rng.below(data_bytes - offset + 1);
        std::vector<u8> read(length);
        u64 covered = 0;
        for (const FragmentRange& part : geometry.locate(offset, length).value()) {
            EXPECT_EQ(part.range_offset, covered);
            Bytes const from = fragments.at(part.position).bytes().subspan(part.offset, part.length);
            std::copy(from.begin(), from.end(), read.begin() + static_cast<i64>(part.range_offset));
            covered += part.length;
        }
        EXPECT_EQ(covered, length);
        EXPECT_TRUE(std::equal(read.begin(), read.end(), chunk.data() + offset));
    }
}

}  // namespace
}  // namespace corelet::ec
