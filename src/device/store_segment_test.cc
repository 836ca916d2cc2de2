#include "device/store_fixture_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

TEST_F(StoreTest, SegmentsTakeWritesOfWhoOpenedThem) {
    SegmentId const id = segment(3, make_seq(Epoch(5), 1));
    ASSERT_TRUE(prepare(id).has_value());
    EXPECT_EQ(prepare(id).error().code, Code::kExists);
    ASSERT_TRUE(write(id, 0, 1, 4).has_value());
    EXPECT_EQ(write(id, 4 * k_block_bytes, 1, 1, Epoch(4)).error().code, Code::kFenced);
    EXPECT_EQ(write(id, 4 * k_block_bytes, 1, 1, Epoch(6)).error().code, Code::kFenced);
    EXPECT_EQ(write(id, 4 * k_block_bytes, 1, 1, Epoch(5), CoreletId(2)).error().code, Code::kFenced);
    EXPECT_EQ(write(id, 256 * k_kib, 1, 1).error().code, Code::kInvalid);
    EXPECT_EQ(write(segment(3, 9), 0, 1, 1).error().code, Code::kUnknown);
    remount();
    auto const data = rig.run(store->read_segment(id, 0, 4 * k_block_bytes, IoClass::kClient));
    ASSERT_TRUE(data.has_value());
    EXPECT_TRUE(std::ranges::equal(data->flatten().bytes(), pattern(1, 4).bytes()));
    auto const info = store->segment_info(id);
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->salt, 99U);
    EXPECT_EQ(info->opened_epoch, Epoch(5));
    EXPECT_EQ(info->owner, CoreletId(1));
    EXPECT_EQ(info->opaque, (std::vector<u8>{7}));
    EXPECT_EQ(info->capacity_bytes, 256 * k_kib);
    EXPECT_TRUE(write(id, 4 * k_block_bytes, 2, 1).has_value())
        << "the owner writes on after a restart of the replica";
}

TEST_F(StoreTest, AFenceIsDurableAndExcludesOlderOwners) {
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id).has_value());
    EXPECT_EQ(rig.run(store->fence_segment(id, Epoch(5), CoreletId(2))).error().code, Code::kFenced)
        << "another owner's equal epoch";
    EXPECT_TRUE(rig.run(store->fence_segment(id, Epoch(5), CoreletId(1))).has_value());
    ASSERT_TRUE(rig.run(store->fence_segment(id, Epoch(7), CoreletId(2))).has_value());
    for (int round = 0; round < 2; ++round, remount()) {
        auto const late = write(id, 0, 1, 1);
        ASSERT_FALSE(late.has_value());
        EXPECT_EQ(late.error().code, Code::kFenced);
        EXPECT_EQ(late.error().detail, 7U);
        EXPECT_EQ(write(id, 0, 1, 1, Epoch(7), CoreletId(2)).error().code, Code::kFenced)
            << "nobody appends to what another epoch opened";
        EXPECT_EQ(rig.run(store->fence_segment(id, Epoch(6), CoreletId(3))).error().code, Code::kFenced);
        EXPECT_TRUE(rig.run(store->fence_segment(id, Epoch(7), CoreletId(2))).has_value());
        EXPECT_EQ(store->segment_info(id)->epoch, Epoch(7));
    }
}

TEST_F(StoreTest, AWriteUnderWayWhenTheFenceComesIsAnsweredFenced) {
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id).has_value());
    std::optional<Result<void>> written;
    std::optional<Result<SegmentInfo>> fenced;
    media.set_latency(Prng(3), 50);
    rig.scope.spawn(detail::store_result<Result<void>>(
        store->write_segment(id, Epoch(5), CoreletId(1), 0, pattern(1, 1)), &written));
    rig.scope.spawn(
        detail::store_result<Result<SegmentInfo>>(store->fence_segment(id, Epoch(6), CoreletId(2)), &fenced));
    rig.settle();
    ASSERT_TRUE(written && fenced);
    EXPECT_TRUE(fenced->has_value());
    ASSERT_FALSE(written->has_value());
    EXPECT_EQ(written->error().code, Code::kFenced);
}

// A record that is still on its way must not land after whoever fenced, sealed or dropped the segment was told so.
TEST_F(StoreTest, FenceSealAndDropWaitForWritesUnderWay) {
    for (int what = 0; what < 3; ++what) {
        SegmentId const id = segment(3, 10 + static_cast<u64>(what));
        ASSERT_TRUE(prepare(id).has_value());
        std::optional<Result<void>> written, dropped;
        std::optional<Result<SegmentInfo>> changed;
        media.hold_writes(k_data_offset, k_data_end);
        rig.scope.spawn(detail::store_result<Result<void>>(
            store->write_segment(id, Epoch(5), CoreletId(1), 0, pattern(1, 1)), &written));
        rig.settle();
        if (what == 0)
            rig.scope.spawn(detail::store_result<Result<SegmentInfo>>(
                store->fence_segment(id, Epoch(6), CoreletId(2)), &changed));
        else if (what == 1)
            rig.scope.spawn(detail::store_result<Result<SegmentInfo>>(store->seal_segment(id, 0), &changed));
        else
            rig.scope.spawn(detail::store_result<Result<void>>(store->drop_segment(id), &dropped));
        rig.settle();
        EXPECT_FALSE(written || changed || dropped) << what;
        EXPECT_FALSE(write(id, 4096, 1, 1).has_value()) << "no further one begins";
        media.release();
        rig.settle();
        EXPECT_TRUE(written && (changed || dropped)) << what;
        EXPECT_EQ(written->has_value(), what != 0);
    }
}

TEST_F(StoreTest, GrowsSealsAndDropsSegments) {
    SegmentId const id = segment(3, 1);
    u64 const before = store->space().used_bytes;
    ASSERT_TRUE(prepare(id, 128 * k_kib).has_value());
    ASSERT_TRUE(put(fragment(1, 1), 1, 4).has_value());  // so that the next extent is no neighbour
    auto const grown = rig.run(store->grow_segment(id, Epoch(5), CoreletId(1), 100 * k_kib, SpaceClass::kClient));
    ASSERT_TRUE(grown.has_value());
    EXPECT_EQ(grown->capacity_bytes, 256 * k_kib);
    ASSERT_TRUE(write(id, 96 * k_kib, 4, 16).has_value()) << "over the edge of an extent";
    auto const across = rig.run(store->read_segment(id, 96 * k_kib, 64 * k_kib, IoClass::kClient));
    EXPECT_TRUE(std::ranges::equal(across->flatten().bytes(), pattern(4, 16).bytes()));
    EXPECT_EQ(rig.run(store->grow_segment(id, Epoch(4), CoreletId(1), 1, SpaceClass::kClient)).error().code,
              Code::kFenced);
    auto const sealed = rig.run(store->seal_segment(id, 100 * k_kib));
    ASSERT_TRUE(sealed.has_value());
    EXPECT_TRUE(sealed->sealed);
    EXPECT_EQ(sealed->end, 100 * k_kib);
    EXPECT_EQ(store->space().used_bytes, before + 2 * k_unit_bytes + k_unit_bytes);
    EXPECT_TRUE(rig.run(store->seal_segment(id, 100 * k_kib)).has_value());
    EXPECT_EQ(rig.run(store->seal_segment(id, 96 * k_kib)).error().code, Code::kConflict);
    EXPECT_EQ(write(id, 0, 1, 1).error().code, Code::kClosed);
    EXPECT_EQ(rig.run(store->read_segment(id, 96 * k_kib, 8192, IoClass::kClient)).error().code, Code::kInvalid)
        << "what lies beyond the end is cut";
    remount();
    EXPECT_EQ(store->segment_info(id)->end, 100 * k_kib);
    ASSERT_TRUE(rig.run(store->drop_segment(id)).has_value());
    EXPECT_EQ(store->segment_info(id).error().code, Code::kUnknown);
    EXPECT_EQ(prepare(id).error().code, Code::kExists) << "prepared once, never again";
    remount();
    EXPECT_EQ(prepare(id).error().code, Code::kExists);
    EXPECT_EQ(store->space().used_bytes, before + k_unit_bytes);
    EXPECT_TRUE(store->list_segments().empty());
}

TEST_F(StoreTest, AShorterReplicaIsSealedAtWhatItHas) {
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id, 64 * k_kib).has_value());
    auto const sealed = rig.run(store->seal_segment(id, 1 * k_mib));
    ASSERT_TRUE(sealed.has_value());
    EXPECT_EQ(sealed->end, 64 * k_kib);
    EXPECT_TRUE(rig.run(store->seal_segment(id, 1 * k_mib)).has_value());
}

TEST_F(StoreTest, AdoptsASealedSegmentInPlace) {
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id, 128 * k_kib).has_value());
    ASSERT_TRUE(put(fragment(1, 1), 1, 1).has_value());
    ASSERT_TRUE(rig.run(store->grow_segment(id, Epoch(5), CoreletId(1), 1, SpaceClass::kClient)).has_value());
    ASSERT_TRUE(write(id, 0, 8, 40).has_value());
    FragmentHeader header;
    header.chunk_data_bytes = 40 * k_block_bytes;
    FragmentId const as{id, 2};
    EXPECT_EQ(rig.run(store->adopt_segment(id, as, header, {})).error().code, Code::kInvalid) << "not sealed";
    ASSERT_TRUE(rig.run(store->seal_segment(id, 40 * k_block_bytes)).has_value());
    EXPECT_EQ(rig.run(store->adopt_segment(id, as, header, crcs_of(pattern(9, 40)))).error().code, Code::kCorrupt);
    u64 const written = store->telemetry().writes[0].bytes;
    ASSERT_TRUE(rig.run(store->adopt_segment(id, as, header, crcs_of(pattern(8, 40)))).has_value());
    EXPECT_EQ(store->telemetry().writes[0].bytes, written);
    EXPECT_EQ(store->segment_info(id).error().code, Code::kUnknown);
    for (int round = 0; round < 2; ++round, remount()) {
        auto const data = read(as, 16 * k_block_bytes, 24 * k_block_bytes);
        ASSERT_TRUE(data.has_value()) << data.error().to_string();
        EXPECT_TRUE(
            std::ranges::equal(data->data.flatten().bytes(), pattern(8, 40).bytes().subspan(16 * k_block_bytes)));
        EXPECT_TRUE(store->fragment_info(as)->adopted);
        EXPECT_TRUE(rig.run(store->verify_fragment(as, IoClass::kScrub)).has_value());
        EXPECT_EQ(prepare(id).error().code, Code::kExists);
    }
    u64 const used = store->space().used_bytes;
    ASSERT_TRUE(rig.run(store->remove_fragment(as)).has_value());
    EXPECT_EQ(store->space().used_bytes, used - 4 * k_unit_bytes) << "three of data, one of header";
}

TEST_F(StoreTest, AdoptsWhatWasVerifiedWithoutReadingIt) {
    SegmentId const id = segment(3, 1);
    ASSERT_TRUE(prepare(id, 256 * k_kib).has_value());
    ASSERT_TRUE(write(id, 0, 8, 40).has_value());
    ASSERT_TRUE(rig.run(store->seal_segment(id, 40 * k_block_bytes)).has_value());
    FragmentHeader header;
    header.chunk_data_bytes = 40 * k_block_bytes;
    FragmentId const as{id, 2};
    EXPECT_EQ(rig.run(store->adopt_segment(id, as, header, crcs_of(pattern(8, 39)), true)).error().code,
              Code::kInvalid);
    auto const bytes_read = [&] {
        u64 bytes = 0;
        for (const auto& counters : store->telemetry().reads) bytes += counters.bytes;
        return bytes;
    };
    u64 const before = bytes_read();
    ASSERT_TRUE(rig.run(store->adopt_segment(id, as, header, crcs_of(pattern(8, 40)), true)).has_value());
    EXPECT_EQ(bytes_read(), before);
    for (int round = 0; round < 2; ++round, remount()) {
        auto const data = read(as, 0, 40 * k_block_bytes);
        ASSERT_TRUE(data.has_value()) << data.error().to_string();
        EXPECT_TRUE(std::ranges::equal(data->data.flatten().bytes(), pattern(8, 40).bytes()));
    }
}

}  // namespace
}  // namespace corelet
