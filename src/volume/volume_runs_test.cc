// Where blocks lie, as people are told: in runs that follow each other, to the end and no further than asked.
#include <gtest/gtest.h>

#include "volume/volume_testing.h"

namespace corelet {
namespace {

struct Runs : ::testing::Test {
    VolumeRig rig{61, options()};
    Runs() { rig.attach(); }
    static VolumeOptions options() {
        VolumeOptions out;
        out.size_bytes = 256 * k_mib;
        out.data_fragments = 2;
        out.chunk_bytes = 256 * k_kib;
        out.direct_bytes_min = 0;
        return out;
    }
    std::vector<MappedRun> runs(u64 lba, u64 end, usize limit = 1000) {
        auto const found = rig.await(rig.volume->runs(lba, end, limit));
        EXPECT_TRUE(found) << found.error().to_string();
        return found ? *found : std::vector<MappedRun>{};
    }
    void pack() {
        rig.stream->roll();
        rig.run_for(30_s);
        ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
        ASSERT_EQ(rig.volume->stats().unpacked_bytes, 0U);
    }
};

TEST_F(Runs, HolesLogAndZeroes) {
    rig.write(8192, 16384, 1);
    ASSERT_TRUE(rig.await(rig.volume->write_zeroes(65536, 8192, false, false)));
    auto const found = runs(0, 20);
    ASSERT_EQ(found.size(), 5U);
    EXPECT_TRUE(found[0].first.is_hole());
    EXPECT_EQ(found[0].blocks, 2U);
    EXPECT_EQ(found[1].lba, 2U);
    EXPECT_EQ(found[1].blocks, 4U);
    EXPECT_EQ(found[1].kind, ContainerKind::kSegment);
    EXPECT_TRUE(found[2].first.is_hole());
    EXPECT_EQ(found[2].blocks, 10U);
    EXPECT_FALSE(found[3].first.has_data());
    EXPECT_FALSE(found[3].first.is_hole());
    EXPECT_EQ(found[3].blocks, 2U);
    EXPECT_EQ(found[4].lba + found[4].blocks, 20U);
}

TEST_F(Runs, PackedBlocksNameTheirChunk) {
    rig.write(0, 64 * k_kib, 1);
    pack();
    auto const found = runs(0, 16);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].kind, ContainerKind::kChunk);
    EXPECT_EQ(found[0].blocks, 16U);
    EXPECT_EQ(found[0].first.block, 1U) << "behind the chunk's index";
    EXPECT_EQ(found[0].container_blocks, 17U);
}

TEST_F(Runs, WhatNobodyWroteIsOneRunHoweverLong) {
    rig.write(255 * k_mib, 4096, 1);
    auto const found = runs(0, 256 * k_mib / k_block_bytes);
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[0].blocks, 255 * k_mib / k_block_bytes);
    EXPECT_EQ(found[2].lba + found[2].blocks, 256 * k_mib / k_block_bytes);
}

// Asked again where it stopped, the parts make the whole.
TEST_F(Runs, PartsMakeTheWhole) {
    for (u64 i = 0; i < 20; ++i) rig.write(i * 12288, 4096, i + 1);
    auto const whole = runs(0, 100);
    std::vector<MappedRun> parts;
    for (u64 at = 0; at < 100;) {
        auto const some = runs(at, 100, 3);
        ASSERT_FALSE(some.empty());
        ASSERT_LE(some.size(), 3U);
        for (const MappedRun& run : some) {
            EXPECT_EQ(run.lba, at);
            at += run.blocks;
            parts.push_back(run);
        }
    }
    ASSERT_EQ(parts.size(), whole.size());
    for (usize i = 0; i < parts.size(); ++i) {
        EXPECT_EQ(parts[i].blocks, whole[i].blocks);
        EXPECT_EQ(parts[i].first, whole[i].first);
    }
}

// Only who may serve knows.
TEST_F(Runs, WhoIsFencedTellsNothing) {
    rig.write(0, 4096, 1);
    rig.stream->fence();
    auto const found = rig.await(rig.volume->runs(0, 10, 10));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().code, Code::kFenced);
}

}  // namespace
}  // namespace corelet
