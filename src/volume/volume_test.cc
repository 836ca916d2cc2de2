#include "volume/volume.h"

#include <gtest/gtest.h>

#include "volume/volume_testing.h"

namespace corelet {
namespace {

VolumeOptions small_options() {
    VolumeOptions options;
    options.size_bytes = 256 * k_mib;
    options.data_fragments = 4;
    options.chunk_bytes = 256 * k_kib;
    options.map_cache_bytes = 64 * k_page_bytes;
    options.block_cache_bytes = 1 * k_mib;
    options.checkpoint_log_bytes = 4 * k_mib;
    return options;
}

// Two MiB, in blocks of 64 KiB whose pattern is their number from 1 on: the segment is full, and another one is
// open that has one write, over the second block of 4 KiB.
void fill_a_segment(VolumeRig& rig) {
    for (u64 i = 0; i < 32; ++i) rig.write(i * 64 * k_kib, 64 * k_kib, i + 1);
    rig.stream->roll();
    rig.write(4096, 4096, 500);
}

TEST(Volume, WhatIsWrittenIsReadBack) {
    VolumeRig rig(1, small_options());
    rig.attach();
    rig.expect_zeros(0, 64 * k_kib);
    rig.write(8192, 4096, 1);
    rig.write(1 * k_mib, 1 * k_mib, 2);
    rig.expect(8192, 4096, 1);
    rig.expect(1 * k_mib, 1 * k_mib, 2);
    rig.expect_zeros(0, 8192);
    rig.expect_zeros(12288, 4096);
    EXPECT_EQ(rig.volume->stats().logical_bytes, 1 * k_mib + 4096);
}

TEST(Volume, PartsOfBlocks) {
    VolumeRig rig(2, small_options());
    rig.attach();
    rig.write(0, 16384, 1);
    rig.write(512, 512, 2);
    rig.write(3584, 1024, 3);  // over a border of blocks
    rig.expect(0, 512, 1);
    rig.expect(512, 512, 2);
    rig.expect(1024, 2560, 1);
    rig.expect(3584, 1024, 3);
    rig.expect(4608, 16384 - 4608, 1);
}

TEST(Volume, TrimAndZeroes) {
    VolumeRig rig(3, small_options());
    rig.attach();
    rig.write(0, 64 * k_kib, 1);
    ASSERT_TRUE(rig.await(rig.volume->trim(4096, 8192, false)));
    ASSERT_TRUE(rig.await(rig.volume->write_zeroes(16384 + 512, 8192, false, false)));
    rig.expect(0, 4096, 1);
    rig.expect_zeros(4096, 8192);
    rig.expect(12288, 4096 + 512, 1);
    rig.expect_zeros(16384 + 512, 8192);
    rig.expect(16384 + 512 + 8192, 4096 - 512, 1);
    auto const status = rig.await(rig.volume->block_status(0, 64 * k_kib));
    ASSERT_TRUE(status);
    ASSERT_EQ(status->size(), 5U);
    EXPECT_FALSE((*status)[0].is_hole);
    EXPECT_TRUE((*status)[1].is_hole && (*status)[1].reads_zero);
    EXPECT_EQ((*status)[1].length_bytes, 8192U);
    EXPECT_FALSE((*status)[3].is_hole);
    EXPECT_TRUE((*status)[3].reads_zero);
    EXPECT_EQ((*status)[3].length_bytes, 4096U) << "the whole block within; the edges were written";
}

// That there is nothing to trim is an answer like a read's: a later owner may have written there (corelet-sim, seed
// 312).
TEST(Volume, ATrimOfWhatIsZeroAlreadyTakesTheLease) {
    VolumeRig rig(5, small_options());
    rig.attach();
    rig.write(0, 4096, 1);
    EXPECT_TRUE(rig.await(rig.volume->trim(1 * k_mib, 8192, false)));
    rig.stream->fence();
    for (auto const& [offset, length] : {std::pair<u64, u64>{1 * k_mib, 8192}, {4096, 4096}}) {
        auto const trimmed = rig.await(rig.volume->trim(offset, length, false));
        ASSERT_FALSE(trimmed);
        EXPECT_EQ(trimmed.error().code, Code::kFenced);
    }
}

TEST(Volume, PackedCheckpointedAndReadAfterAnotherTake) {
    VolumeRig rig(4, small_options());
    rig.attach();
    for (u64 i = 0; i < 64; ++i) rig.write(i * 128 * k_kib, 64 * k_kib, i + 1);
    rig.stream->roll();
    rig.write(200 * k_mib, 4096, 1000);
    rig.run_for(30_s);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    EXPECT_GT(rig.volume->stats().chunks_packed, 10U);
    EXPECT_GT(rig.volume->stats().segments_released, 0U);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes, 4096U);
    rig.crash();
    rig.attach();
    EXPECT_EQ(rig.volume->stats().logical_bytes, 64 * 64 * k_kib + 4096);
    for (u64 i = 0; i < 64; ++i) rig.expect(i * 128 * k_kib, 64 * k_kib, i + 1);
    rig.expect(200 * k_mib, 4096, 1000);
    rig.check_no_leak();
}

TEST(Volume, ReplayAppliesRelocationsFromTheChunksIndex) {
    VolumeRig rig(5, small_options());
    rig.options.idle_checkpoint = 1000_s;
    rig.options.checkpoint_log_bytes = 1 * k_gib;
    rig.attach();
    fill_a_segment(rig);
    rig.run_for(1_s);
    EXPECT_GT(rig.volume->stats().chunks_packed, 0U);
    EXPECT_EQ(rig.volume->stats().checkpoints, 0U);
    rig.crash();
    rig.attach();
    rig.expect(0, 4096, 1);
    rig.expect(4096, 4096, 500);
    for (u64 i = 1; i < 32; ++i) rig.expect(i * 64 * k_kib, 64 * k_kib, i + 1);
}

// What is put behind is settled before an entry says that it is packed: until then the log keeps what it holds.
TEST(Volume, PackingWaitsForWhatIsPutBehind) {
    VolumeRig rig(15, small_options());
    rig.attach();
    fill_a_segment(rig);
    rig.world.settled_at = rig.clock.now() + 8_s;
    rig.run_for(7_s);
    EXPECT_GT(rig.world.puts, 0U);
    EXPECT_EQ(rig.volume->stats().chunks_packed, 0U);
    EXPECT_EQ(rig.volume->stats().segments_released, 0U);
    EXPECT_TRUE(rig.world.root.empty()) << "nor has a checkpoint named the chunks of its pages";
    rig.run_for(30_s);
    EXPECT_GT(rig.volume->stats().chunks_packed, 0U);
    EXPECT_GT(rig.volume->stats().checkpoints, 0U);
    EXPECT_GT(rig.volume->stats().segments_released, 0U);
    rig.expect(4096, 4096, 500);
}

// A checkpoint of what nothing was packed of: its own chunks are put behind as well.
TEST(Volume, ACheckpointWaitsForWhatIsPutBehind) {
    VolumeRig rig(16, small_options());
    rig.attach();
    rig.write(0, 64 * k_kib, 1);
    rig.world.settled_at = rig.clock.now() + 8_s;
    Instant const began = rig.clock.now();
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    EXPECT_GE(rig.clock.now() - began, 8_s);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    EXPECT_LT(rig.clock.now() - began, 9_s);
}

// What is packed was settled before there was an entry: the next owner need not ask who has it.
TEST(Volume, ReplayOfPackedChunksWatchesNothing) {
    VolumeRig rig(17, small_options());
    rig.options.idle_checkpoint = 1000_s;
    rig.options.checkpoint_log_bytes = 1 * k_gib;
    rig.attach();
    fill_a_segment(rig);
    rig.run_for(1_s);
    ASSERT_GT(rig.volume->stats().chunks_packed, 0U);
    rig.crash();
    rig.attach();
    EXPECT_TRUE(rig.world.watched.empty());
}

TEST(Volume, DetachLeavesNothingToReplay) {
    VolumeRig rig(6, small_options());
    rig.attach();
    rig.write(0, 1 * k_mib, 7);
    ASSERT_TRUE(rig.await(rig.volume->detach()));
    EXPECT_TRUE(rig.world.log.empty());
    EXPECT_EQ(rig.await(rig.volume->write(0, VolumeRig::pattern(1, 4096), false)).error().code, Code::kShutdown);
    EXPECT_EQ(rig.await(rig.volume->read(0, 4096)).error().code, Code::kShutdown);
    rig.crash();
    rig.attach();
    rig.expect(0, 1 * k_mib, 7);
}

TEST(Volume, Grows) {
    VolumeRig rig(7, small_options());
    rig.attach();
    ASSERT_TRUE(rig.await(rig.volume->grow(3 * k_tib)));
    EXPECT_EQ(rig.await(rig.volume->grow(2 * k_tib)).error().code, Code::kInvalid);
    rig.write(3 * k_tib - 4096, 4096, 9);
    rig.crash();
    rig.attach();
    EXPECT_EQ(rig.volume->size_bytes(), 3 * k_tib);
    rig.expect(3 * k_tib - 4096, 4096, 9);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    rig.crash();
    rig.attach();
    EXPECT_EQ(rig.volume->size_bytes(), 3 * k_tib);
    rig.expect(3 * k_tib - 4096, 4096, 9);
    ASSERT_TRUE(rig.await(rig.volume->trim(0, 3 * k_tib, false)))
        << "in steps; what was never written costs nothing";
    EXPECT_EQ(rig.volume->stats().logical_bytes, 0U);
}

}  // namespace
}  // namespace corelet
