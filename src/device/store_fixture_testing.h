// A formatted, mounted store over a device in memory, and short ways to use it.
#pragma once

#include <gtest/gtest.h>

#include "device/device_testing.h"

namespace corelet::testing {

inline constexpr u64 k_size = 16 * k_mib;
inline constexpr u64 k_data_offset = 64 * k_kib + 4 * 256 * k_kib;  // with small_format()
inline constexpr u64 k_data_end = k_size - 68 * k_kib;

inline FragmentId fragment(u64 space, u64 seq, u8 position = 0) {
    return {{SpaceId(space), seq}, position};
}
inline SegmentId segment(u64 space, u64 seq) {
    return {SpaceId(space), seq};
}

class StoreTest : public ::testing::Test {
  protected:
    StoreTest() {
        EXPECT_TRUE(format(rig, media, small_format()).has_value());
        remount();
    }
    void remount() {
        store.reset();
        media.kill();
        auto mounted = mount(rig, media);
        ASSERT_TRUE(mounted.has_value()) << mounted.error().to_string();
        store = *std::move(mounted);
    }
    Result<void> put(FragmentId id, u64 seed, u64 blocks, PutOptions options = {}) {
        Buffer const data = pattern(seed, blocks);
        FragmentHeader header;
        header.k = 4;
        header.m = 2;
        header.chunk_data_bytes = blocks * k_block_bytes * 4;
        header.map_epoch = MapEpoch(3);
        header.opaque = {1, 2, 3};
        return rig.run(store->put_fragment(id, header, data, crcs_of(data), options));
    }
    Result<FragmentData> read(FragmentId id, u64 offset, u64 length, bool verify = true) {
        ReadOptions options;
        options.verify = verify;
        return rig.run(store->read_fragment(id, offset, length, options));
    }
    Result<void> prepare(SegmentId id, u64 bytes = 256 * k_kib, u64 reserve = 0) {
        SegmentSpec spec;
        spec.salt = 99;
        spec.epoch = Epoch(5);
        spec.owner = CoreletId(1);
        spec.opaque = {7};
        spec.initial_bytes = bytes;
        spec.packed_reservation_bytes = reserve;
        return rig.run(store->prepare_segment(id, spec));
    }
    Result<void> write(SegmentId id, u64 offset, u64 seed, u64 blocks, Epoch epoch = Epoch(5),
                       CoreletId owner = CoreletId(1)) {
        return rig.run(store->write_segment(id, epoch, owner, offset, pattern(seed, blocks)));
    }
    Rig rig;
    FakeMedia media{k_size};
    std::unique_ptr<Store> store;
};

}  // namespace corelet::testing
