// From runs of a block map to rows that name places.
#include "mesh/mesh_testing.h"
#include "node/volume_care.h"

namespace corelet {
namespace {

MappedRun run_at(u64 lba, u64 blocks, BlockEntry first, std::optional<ContainerKind> kind,
                 u32 container_blocks = 0) {
    return {lba, blocks, first, kind, container_blocks};
}

struct MapRows : ::testing::Test {
    mesh::Map map = mesh::testing::with_pool(mesh::testing::make_map(6), "ec:2+1", mesh::Level::kCorelet);
    const mesh::Pool& pool = map.pools[0];
    pb::Stream stream;
    MapRows() { stream.set_space(7); }
};

TEST_F(MapRows, ARunOverTwoFragmentsIsTwoRows) {
    // 8 blocks over 2: four each. Blocks 3 to 6 of the chunk.
    auto const rows = map_rows(pool, stream, {run_at(100, 4, {55, 3, 0}, ContainerKind::kChunk, 8)});
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].offset, 100 * k_block_bytes);
    EXPECT_EQ(rows[0].length, 1 * k_block_bytes);
    EXPECT_EQ(rows[0].fragment, 0U);
    EXPECT_EQ(rows[1].offset, 101 * k_block_bytes);
    EXPECT_EQ(rows[1].length, 3 * k_block_bytes);
    EXPECT_EQ(rows[1].fragment, 1U);
    for (const MapRow& row : rows) {
        EXPECT_EQ(row.kind, "chunk");
        EXPECT_EQ(row.slot, pool.slot(ChunkId{SpaceId(7), 55}));
        EXPECT_EQ(row.places, pool.current().row(row.slot));
        EXPECT_EQ(row.copies_wanted, 3U);
    }
}

TEST_F(MapRows, TheLogIsWithItsReplicas) {
    pb::Segment* const segment = stream.add_segments();
    segment->set_seq(9);
    segment->add_replicas(2);
    segment->add_replicas(5);
    auto const rows = map_rows(pool, stream, {run_at(0, 2, {9, 1, 0}, ContainerKind::kSegment)});
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].kind, "log");
    EXPECT_EQ(rows[0].copies_wanted, 2U);
    EXPECT_EQ(rows[0].places, (std::vector{CoreletId(2), CoreletId(5)}));
}

TEST_F(MapRows, WhatHasNoDataHasNoPlace) {
    auto const rows = map_rows(pool, stream,
                               {run_at(0, 5, {}, std::nullopt), run_at(5, 1, k_zero_entry, std::nullopt),
                                run_at(6, 1, {77, 0, 0}, std::nullopt)});
    ASSERT_EQ(rows.size(), 3U);
    EXPECT_EQ(rows[0].kind, "hole");
    EXPECT_EQ(rows[1].kind, "zero");
    EXPECT_EQ(rows[2].kind, "moving") << "its container is gone since";
    for (const MapRow& row : rows) EXPECT_TRUE(row.places.empty());
}

}  // namespace
}  // namespace corelet
