// A volume in a pool that is full, or would be without cleaning; and what is lost for good.
#include <gtest/gtest.h>

#include "volume/volume_testing.h"

namespace corelet {
namespace {

class WorldSpace final : public PoolSpace {
  public:
    explicit WorldSpace(FakeWorld& world) : world_(world) {}
    [[nodiscard]] u32 free_permille(PoolId) const override {
        u64 const used = std::min(world_.bytes_used(), world_.capacity_bytes);
        return static_cast<u32>((world_.capacity_bytes - used) * 1000 / world_.capacity_bytes);
    }
    [[nodiscard]] bool may_write(PoolId) const override { return world_.admits(0); }

  private:
    FakeWorld& world_;
};

VolumeOptions options() {
    VolumeOptions options;
    options.size_bytes = 64 * k_mib;
    options.data_fragments = 4;
    options.chunk_bytes = 256 * k_kib;
    options.map_cache_bytes = 64 * k_page_bytes;
    options.block_cache_bytes = 1 * k_mib;
    options.checkpoint_log_bytes = 4 * k_mib;
    options.reclaim_wait = 2_s;
    options.idle_checkpoint = 1_s;
    return options;
}

TEST(VolumeSpace, WrittenOverAndOverNeverWedges) {
    VolumeRig rig(11, options());
    WorldSpace space(rig.world);
    rig.space = &space;
    rig.stream_options.segment_blocks = 128;
    rig.world.capacity_bytes = 24 * k_mib;
    rig.attach();
    u64 const blocks = 12 * k_mib / k_block_bytes;
    std::vector<u64> stamps(blocks);
    Prng draw(5);
    for (u64 i = 0; i < 12 * blocks && !HasFailure(); ++i) {
        u64 const block = draw.below(blocks);
        rig.write(block * k_block_bytes, k_block_bytes, i + 1);
        stamps[block] = i + 1;
        ASSERT_LE(rig.world.bytes_used(), rig.world.capacity_bytes);
    }
    for (u64 block = 0; block < blocks && !HasFailure(); ++block)
        rig.expect(block * k_block_bytes, k_block_bytes, stamps[block]);
    VolumeStats const stats = rig.volume->stats();
    EXPECT_GT(stats.chunks_cleaned, 100U);
    EXPECT_GT(stats.write_amplification_permille(), 1000U);
    RecordProperty("write_amplification_permille", static_cast<int>(stats.write_amplification_permille()));
    rig.run_for(60_s);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    EXPECT_EQ(rig.check_no_leak(), 0U);
}

TEST(VolumeSpace, FullServesReadsAndTrimsAndRecovers) {
    VolumeRig rig(12, options());
    WorldSpace space(rig.world);
    rig.space = &space;
    rig.stream_options.segment_blocks = 128;
    rig.world.capacity_bytes = 16 * k_mib;
    rig.attach();
    u64 written = 0;
    for (;; written += 64 * k_kib) {
        ASSERT_LT(written, 60 * k_mib);
        auto const done = rig.await(rig.volume->write(written, VolumeRig::pattern(written + 1, 64 * k_kib), false));
        if (done) continue;
        EXPECT_EQ(done.error().code, Code::kNoSpace);
        break;
    }
    EXPECT_GT(written, 8 * k_mib);
    for (u64 at = 0; at < written; at += 64 * k_kib) rig.expect(at, 64 * k_kib, at + 1);
    ASSERT_TRUE(rig.await(rig.volume->trim(0, written / 2, false)));
    for (u64 at = 0; at < 2 * k_mib; at += 64 * k_kib) rig.write(at, 64 * k_kib, at + 7);
    rig.expect_zeros(2 * k_mib, 64 * k_kib);
    for (u64 at = 0; at < 2 * k_mib; at += 64 * k_kib) rig.expect(at, 64 * k_kib, at + 7);
    for (u64 at = round_up(written / 2, 64 * k_kib); at < written; at += 64 * k_kib)
        rig.expect(at, 64 * k_kib, at + 1);
    rig.crash();
    rig.attach();
    rig.expect(0, 64 * k_kib, 7);
    rig.run_for(60_s);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    rig.check_no_leak();
}

TEST(VolumeSpace, WithoutAPoolTheLogTakesWritesAndNothingIsPacked) {
    VolumeRig rig(13, options());
    rig.attach();
    rig.world.pool_up = false;
    for (u64 i = 0; i < 32; ++i) rig.write(i * 256 * k_kib, 256 * k_kib, i + 1);
    rig.stream->roll();
    rig.run_for(20_s);
    EXPECT_EQ(rig.volume->stats().chunks_packed, 0U);
    EXPECT_TRUE(rig.world.chunks.empty());
    rig.world.pool_up = true;
    rig.run_for(20_s);
    EXPECT_EQ(rig.volume->stats().unpacked_bytes, 0U);
    for (u64 i = 0; i < 32; ++i) rig.expect(i * 256 * k_kib, 256 * k_kib, i + 1);
}

// A put whose owner died left a chunk that no record names.
TEST(VolumeSpace, BuriesOnlyWhatIsProvenDead) {
    VolumeRig rig(18, options());
    rig.attach();
    rig.crash();
    rig.attach();  // names of the former epoch are below the first horizon
    for (u64 i = 0; i < 16; ++i) rig.write(i * 64 * k_kib, 64 * k_kib, i + 1);
    rig.stream->roll();
    rig.run_for(20_s);
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    ASSERT_EQ(rig.volume->stats().unpacked_bytes, 0U);
    u64 const horizon = rig.world.horizon;
    u64 const orphan = make_seq(Epoch(rig.world.epoch.v - 1), 77);
    ASSERT_LT(orphan, horizon);
    u64 const young = rig.stream->new_chunk_id().seq;
    u64 const referred = rig.await(rig.volume->core().state.map.pin_leaf(0, false))->page().entry(0).container;
    for (u64 seq : {orphan, young}) rig.world.chunks[seq] = VolumeRig::pattern(seq, 4096);
    ASSERT_LT(referred, young);
    auto const buried = rig.await(rig.volume->bury({orphan, young, referred}, horizon));
    ASSERT_TRUE(buried) << buried.error().to_string();
    EXPECT_FALSE(rig.world.chunks.contains(orphan));
    EXPECT_TRUE(rig.world.condemned.contains(orphan)) << "a mark in the log comes first";
    EXPECT_TRUE(rig.world.chunks.contains(young)) << "it may be a put in flight";
    EXPECT_TRUE(rig.world.chunks.contains(referred));
    for (u64 i = 0; i < 16; ++i) rig.expect(i * 64 * k_kib, 64 * k_kib, i + 1);
    rig.world.chunks.erase(young);
    // The mark is replayed like any other.
    rig.crash();
    rig.attach();
    for (u64 i = 0; i < 16; ++i) rig.expect(i * 64 * k_kib, 64 * k_kib, i + 1);
}

VolumeOptions without_block_cache() {
    VolumeOptions out = options();
    out.block_cache_bytes = 0;
    return out;
}

// A megabyte is packed, and then the chunk of the first block is gone.
void lose_first_chunk(VolumeRig& rig) {
    rig.attach();
    for (u64 i = 0; i < 16; ++i) rig.write(i * 64 * k_kib, 64 * k_kib, i + 1);
    rig.stream->roll();
    rig.run_for(20_s);
    ASSERT_EQ(rig.volume->stats().unpacked_bytes, 0U);
    u64 const lost = rig.await(rig.volume->core().state.map.pin_leaf(0, false))->page().entry(0).container;
    ASSERT_EQ(rig.world.chunks.erase(lost), 1U);
}

TEST(VolumeLoss, ALostChunkIsNamedAndTheRestIsServed) {
    VolumeRig rig(14, without_block_cache());
    ASSERT_NO_FATAL_FAILURE(lose_first_chunk(rig));
    auto const read = rig.await(rig.volume->read(0, 4096));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::kLost);
    rig.expect(15 * 64 * k_kib, 64 * k_kib, 16);
    rig.write(0, 64 * k_kib, 100);
    rig.expect(0, 64 * k_kib, 100);
}

TEST(VolumeLoss, AnOwnerThatWasReplacedDoesNotSayLost) {
    VolumeRig rig(15, without_block_cache());
    ASSERT_NO_FATAL_FAILURE(lose_first_chunk(rig));
    rig.stream->fence();
    auto const read = rig.await(rig.volume->read(0, 4096));
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::kFenced);
    auto const written = rig.await(rig.volume->write(0, BufferChain(Buffer::zeroed(512)), false));
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, Code::kFenced);
}

// The next owner has let go of it, and its place was written anew.
TEST(VolumeLoss, NorThatItHasRotted) {
    VolumeRig rig(17, without_block_cache());
    ASSERT_NO_FATAL_FAILURE(lose_first_chunk(rig));
    u64 const chunk = rig.await(rig.volume->core().state.map.pin_leaf(0, false))->page().entry(0).container;
    rig.world.chunks[chunk] = Buffer::zeroed(256 * k_kib);
    EXPECT_EQ(rig.await(rig.volume->read(0, 4096)).error().code, Code::kCorrupt);
    rig.stream->fence();
    EXPECT_EQ(rig.await(rig.volume->read(0, 4096)).error().code, Code::kFenced);
}

// The pages of the map are chunks, too.
void lose_map(VolumeRig& rig) {
    ASSERT_NO_FATAL_FAILURE(lose_first_chunk(rig));
    ASSERT_TRUE(rig.await(rig.volume->checkpoint()));
    rig.crash();
    rig.attach();
    rig.world.chunks.clear();
}

TEST(VolumeLoss, NorThatItsMapIsLost) {
    VolumeRig rig(18, without_block_cache());
    ASSERT_NO_FATAL_FAILURE(lose_map(rig));
    BufferChain const block(Buffer::zeroed(4096));
    EXPECT_EQ(rig.await(rig.volume->write(0, block, false)).error().code, Code::kLost);
    EXPECT_EQ(rig.await(rig.volume->trim(0, 64 * k_kib, false)).error().code, Code::kLost);
    EXPECT_EQ(rig.await(rig.volume->block_status(0, 64 * k_kib)).error().code, Code::kLost);
    rig.stream->fence();
    EXPECT_EQ(rig.await(rig.volume->block_status(0, 64 * k_kib)).error().code, Code::kFenced);
    for (bool trims : {false, true}) {
        VolumeRig again(19, without_block_cache());
        ASSERT_NO_FATAL_FAILURE(lose_map(again));
        again.stream->fence();
        auto const done =
            again.await(trims ? again.volume->trim(0, 64 * k_kib, false) : again.volume->write(0, block, false));
        EXPECT_EQ(done.error().code, Code::kFenced) << trims;
    }
}

TEST(VolumeLoss, AChunkThatCannotBeCleanedDoesNotStopCleaning) {
    VolumeOptions tight = options();
    tight.block_cache_bytes = 0;
    tight.garbage_permille_max = 10;
    VolumeRig rig(15, tight);
    rig.attach();
    for (u64 i = 0; i < 64; ++i) rig.write(i * 64 * k_kib, 64 * k_kib, i + 1);
    rig.stream->roll();
    rig.run_for(5_s);
    u64 const lost = rig.await(rig.volume->core().state.map.pin_leaf(0, false))->page().entry(0).container;
    Buffer const kept = rig.world.chunks[lost];
    rig.world.chunks.erase(lost);
    for (u64 i = 0; i < 64; ++i) rig.write(i * 64 * k_kib + 4096, 60 * k_kib, i + 101);
    rig.stream->roll();
    rig.run_for(20_s);
    EXPECT_FALSE(rig.log.errors.empty());
    EXPECT_GT(rig.volume->stats().chunks_removed, 8U);
    for (u64 i = 8; i < 64; ++i) rig.expect(i * 64 * k_kib, 4096, i + 1);
    // Healed after all: it is tried again.
    rig.world.chunks[lost] = kept;
    rig.run_for(200_s);
    EXPECT_FALSE(rig.volume->core().state.containers.find(lost)->lost_blocks);
    for (u64 i = 0; i < 64; ++i) rig.expect(i * 64 * k_kib, 4096, i + 1);
}

TEST(VolumeLease, NothingIsAnsweredWithoutIt) {
    VolumeRig rig(16, options());
    rig.attach();
    rig.write(0, 4096, 1);
    rig.stream->fence();
    EXPECT_EQ(rig.await(rig.volume->read(0, 4096)).error().code, Code::kFenced);
    EXPECT_TRUE(rig.volume->stopped().is_set());
    EXPECT_EQ(rig.await(rig.volume->write(0, VolumeRig::pattern(2, 4096), false)).error().code, Code::kFenced);
    EXPECT_EQ(rig.await(rig.volume->block_status(0, 4096)).error().code, Code::kFenced);
}

TEST(VolumeLease, ADroppedWriteLeavesNothingBehind) {
    VolumeRig rig(17, options());
    rig.attach();
    for (u64 i = 0; i < 200; ++i) {
        Scope client(rig.executor);
        std::optional<Result<void>> out;
        client.spawn(detail::store_result<Result<void>>(
            rig.volume->write((i % 8) * 512, VolumeRig::pattern(i + 1, 2048), false), &out));
        rig.run(i % 23);
    }
    rig.run_for(10_s);
    rig.write(0, 8192, 9999);
    rig.expect(0, 8192, 9999);
    ASSERT_TRUE(rig.await(rig.volume->detach()));
}

}  // namespace
}  // namespace corelet
