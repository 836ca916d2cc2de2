#include "volume/direct_writer.h"

#include <gtest/gtest.h>

#include "volume/volume_testing.h"

namespace corelet {
namespace {

constexpr u64 k_write_bytes = 1 * k_mib;

VolumeOptions direct_options() {
    VolumeOptions options;
    options.size_bytes = 256 * k_mib;
    options.data_fragments = 2;
    options.chunk_bytes = 8 * k_mib;
    options.block_cache_bytes = 1 * k_mib;
    options.idle_checkpoint = 1000_s;
    return options;
}

// So many writes of a MiB at once, one after the other in the volume, stamped from `stamp` on.
void write_together(VolumeRig& rig, u32 count, u64 stamp) {
    Scope writes(rig.executor);
    std::vector<std::optional<Result<void>>> done(count);
    for (u32 i = 0; i < count; ++i) {
        auto write = rig.volume->write(i * k_write_bytes, VolumeRig::pattern(stamp + i, k_write_bytes), false);
        writes.spawn(detail::store_result<Result<void>>(std::move(write), &done[i]));
    }
    while (!writes.empty()) rig.step();
    for (const auto& one : done) ASSERT_TRUE(one && *one);
}

void expect_together(VolumeRig& rig, u32 count, u64 stamp) {
    for (u32 i = 0; i < count; ++i) rig.expect(i * k_write_bytes, k_write_bytes, stamp + i);
}

TEST(DirectWriter, WritesThatComeTogetherNeedNoPacking) {
    VolumeRig rig(1, direct_options());
    rig.attach();
    write_together(rig, 16, 100);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes % k_write_bytes, 0U);
    EXPECT_LE(rig.volume->stats().unpacked_bytes, 2 * k_write_bytes) << "only what came alone went by the log";
    EXPECT_GE(rig.volume->stats().chunks_placed, 2U);
    EXPECT_LE(rig.volume->stats().chunks_placed, 7U);
    expect_together(rig, 16, 100);
    // Over what is there, and once more by another owner that replays the log.
    write_together(rig, 16, 200);
    expect_together(rig, 16, 200);
    EXPECT_EQ(rig.volume->stats().checkpoints, 0U);
    rig.crash();
    rig.attach();
    expect_together(rig, 16, 200);
    EXPECT_EQ(rig.volume->stats().logical_bytes, 16 * k_write_bytes);
}

TEST(DirectWriter, WhatComesAloneOrSmallGoesByTheLog) {
    VolumeRig rig(2, direct_options());
    rig.attach();
    for (u64 i = 0; i < 4; ++i) rig.write(i * k_write_bytes, k_write_bytes, i + 1);
    Scope writes(rig.executor);
    std::vector<std::optional<Result<void>>> done(64);
    for (u32 i = 0; i < 64; ++i)
        writes.spawn(detail::store_result<Result<void>>(
            rig.volume->write(64 * k_mib + i * 128 * k_kib, VolumeRig::pattern(50 + i, 128 * k_kib), false),
            &done[i]));
    while (!writes.empty()) rig.step();
    EXPECT_EQ(rig.volume->stats().chunks_placed, 0U);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes, 4 * k_write_bytes + 64 * 128 * k_kib);
}

TEST(DirectWriter, ReplicatedPoolsWriteTheLogAlone) {
    VolumeOptions options = direct_options();
    options.data_fragments = 1;
    VolumeRig rig(3, options);
    rig.attach();
    write_together(rig, 8, 1);
    EXPECT_EQ(rig.volume->stats().chunks_placed, 0U);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes, 8 * k_write_bytes);
}

// A pool that names a write quorum takes that for enough.
TEST(DirectWriter, TheQuorumThatThePoolNamesIsEnough) {
    VolumeRig rig(14, direct_options());
    rig.attach();
    rig.world.puts_incomplete = rig.world.puts_behind = true;
    write_together(rig, 16, 300);
    EXPECT_GE(rig.volume->stats().chunks_placed, 2U);
    expect_together(rig, 16, 300);
    rig.crash();
    rig.attach();
    EXPECT_GE(rig.world.watched.size(), 2U) << "the next owner looks after them";
    expect_together(rig, 16, 300);
}

TEST(DirectWriter, WithoutTheWholeRedundancyItIsTheLog) {
    VolumeRig rig(4, direct_options());
    rig.attach();
    rig.world.puts_incomplete = true;
    write_together(rig, 16, 300);
    EXPECT_EQ(rig.volume->stats().chunks_placed, 0U);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes, 16 * k_write_bytes);
    EXPECT_GE(rig.world.chunks.size(), 1U) << "nothing was tried";
    expect_together(rig, 16, 300);
    // What was given up is nobody's; the next owner knows as well, by the log and by a checkpoint.
    rig.run_for(1_s);
    std::vector<u64> given_up;
    for (auto const& [seq, bytes] : rig.world.chunks) {
        const Container* const chunk = rig.volume->core().state.containers.find(seq);
        ASSERT_TRUE(chunk) << seq;
        EXPECT_EQ(chunk->is_leftover, chunk->live == 0) << seq << ": packed chunks are no leftovers";
        if (chunk->is_leftover) given_up.push_back(seq);
    }
    EXPECT_GE(given_up.size(), 1U);
    rig.crash();
    rig.attach();
    for (u64 seq : given_up) {
        const Container* const chunk = rig.volume->core().state.containers.find(seq);
        EXPECT_TRUE(chunk && chunk->is_leftover) << seq;
    }
    // It goes with the next checkpoints.
    rig.world.puts_incomplete = false;
    rig.stream->roll();
    rig.run_for(10_s);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    rig.run_for(10_s);
    EXPECT_EQ(rig.check_no_leak(), 0U);
    EXPECT_EQ(rig.volume->stats().garbage_bytes / k_write_bytes, 0U);
    expect_together(rig, 16, 300);
    rig.crash();
    rig.attach();
    expect_together(rig, 16, 300);
}

TEST(DirectWriter, APoolThatTakesNoChunksIsNotAsked) {
    VolumeRig rig(5, direct_options());
    rig.attach();
    rig.world.pool_up = false;
    write_together(rig, 8, 400);
    EXPECT_EQ(rig.world.puts, 0U);
    expect_together(rig, 8, 400);
}

}  // namespace
}  // namespace corelet
