// Space is written when it is needed, not before, and log space once: large devices are ready at once.
#include "device/store_fixture_testing.h"

namespace corelet::testing {
namespace {

constexpr u64 k_large = 4 * k_gib;

FormatOptions large_format() {
    FormatOptions options;
    options.mesh = MeshId(1);
    options.identity = CoreletId(2);
    return options;
}

TEST(LargeDevice, FormatAndMountWriteLittle) {
    Rig rig;
    FakeMedia media(k_large);
    ASSERT_TRUE(format(rig, media, large_format()).has_value());
    EXPECT_LT(media.image().size() * k_block_bytes, 2 * k_mib) << "the data area is left alone";
    auto store = rig.run(Store::mount(media.open(), rig.env(), StoreOptions{}));
    ASSERT_TRUE(store.has_value());
    rig.settle();
    u64 const ahead = StoreOptions{}.log_ahead_bytes;
    EXPECT_EQ((*store)->telemetry().zeroed_bytes, ahead);
    EXPECT_LT(media.image().size() * k_block_bytes, ahead + 4 * k_mib);
}

class LogSpace : public StoreTest {
  protected:
    u64 zeroed() {
        rig.settle();
        return store->telemetry().zeroed_bytes;
    }
    // Blocks of the data area that were ever written.
    u64 written_blocks() {
        auto const image = media.image();
        return static_cast<u64>(std::count_if(image.begin(), image.end(), [](const auto& block) {
            return block.first * k_block_bytes >= k_data_offset && block.first * k_block_bytes < k_data_end;
        }));
    }
};

TEST_F(LogSpace, IsWrittenBeforeItsFirstUseAndAheadOfNeed) {
    u64 const ahead = zeroed();
    EXPECT_GT(ahead, 0U) << "some is ready before anybody asks";
    u64 segments = 0;
    for (u64 seq = 1; prepare(segment(1, seq), 512 * k_kib).has_value(); ++seq) {
        ++segments;
        EXPECT_GE(written_blocks(), segments * 512 * k_kib / k_block_bytes)
            << "a segment of space that was never written costs half the speed";
    }
    EXPECT_GT(segments, 10U);
    EXPECT_LE(zeroed(), store->space().capacity_bytes);
}

TEST_F(LogSpace, IsRecycledAsItIs) {
    ASSERT_TRUE(prepare(segment(1, 1), 512 * k_kib).has_value());
    u64 const before = zeroed();
    for (u64 seq = 2; seq < 40; ++seq) {
        ASSERT_TRUE(prepare(segment(1, seq), 512 * k_kib).has_value());
        ASSERT_TRUE(write(segment(1, seq), 0, seq, 8).has_value());
        ASSERT_TRUE(rig.run(store->drop_segment(segment(1, seq - 1))).has_value());
    }
    EXPECT_LE(zeroed(), before + 1 * k_mib) << "what was dropped is used again, and not written again";
}

TEST_F(LogSpace, IsNotWrittenAgainAfterARestart) {
    for (u64 seq = 1; seq < 8; ++seq) ASSERT_TRUE(prepare(segment(1, seq), 512 * k_kib).has_value());
    u64 const before = written_blocks();
    rig.settle();
    remount();
    EXPECT_LE(zeroed(), 1 * k_mib) << "the frontier is on the device";
    EXPECT_LE(written_blocks(), before + 2 * k_mib / k_block_bytes);
}

}  // namespace
}  // namespace corelet::testing
