// The bytes of version 1 of what a volume stores, for ever (docs/format/volume.md, checkpoint.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "volume/checkpoint_format.h"
#include "volume/chunk_index.h"
#include "volume/log_entry.h"

namespace corelet {
namespace {

using testing::from_golden;
using testing::golden;

TEST(VolumeGolden, LogEntries) {
    std::vector<std::pair<VolumeEntry, std::string_view>> const kinds{
        {volume_entry::Write{1, {{2, 3}, {0x0102030405, 6}}},
         "0101010000000000 0000020002000000 0000000003000000 0504030201000000 06000000"},
        {volume_entry::Clear{1, true, {{2, 3}}}, "0102010000000000 0000010100020000 0000000000030000 00"},
        {volume_entry::Packed{0x0102030405060708, 9}, "0103080706050403 020109000000"},
        {volume_entry::Condemned{{1, 0x0102030405060708}}, "0104020000000100 0000000000000807 060504030201"},
        {volume_entry::Adopted{0x0102030405060708, 9, 0x1112131415161718, 10},
         "0105080706050403 0201090000001817 1615141312110a00 0000"},
        {volume_entry::Resized{1 * k_tib}, "0106000000000001 0000"},
        {volume_entry::Placed{0x0102030405060708, 0x1112131415161718, 9, true},
         "0107080706050403 0201181716151413 12110900000001"},
    };
    EXPECT_EQ(kinds.size(), std::variant_size_v<VolumeEntry>);
    for (const auto& [entry, bytes] : kinds) {
        EXPECT_EQ(golden(encode_volume_entry(entry)), bytes);
        auto const read = decode_volume_entry(from_golden(bytes));
        ASSERT_TRUE(read) << bytes;
        EXPECT_EQ(read->index(), entry.index());
        EXPECT_EQ(golden(encode_volume_entry(*read)), bytes);
    }
}

TEST(VolumeGolden, ChunkIndexes) {
    constexpr std::string_view k_data =
        "5649445801000100 0807060504030201 0200000001000000 d31465bf00000000 0500000000000000 1817161514131211 "
        "0700000024232221 0600000000000000 0100000000000000 0200000003 00*4019";
    ChunkIndex const index{0x0102030405060708, true, {{5, 0x1112131415161718, 7, 0x21222324}, {6, 1, 2, 3}}};
    EXPECT_EQ(golden(encode_chunk_index(index)), k_data);
    auto const read = decode_chunk_index(from_golden(k_data), index.chunk);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->entries, index.entries);
    EXPECT_TRUE(read->of_segment);
    constexpr std::string_view k_map =
        "56494d5001000000 0807060504030201 0200000001000000 83dc7645 00*12 0900000000000000 04 00*4047";
    std::vector<MapIndexEntry> const pages{{PageKind::kLeaf, 9}, {PageKind::kTable, 0}};
    EXPECT_EQ(golden(encode_map_index(0x0102030405060708, pages)), k_map);
    EXPECT_EQ(decode_map_index(from_golden(k_map), 0x0102030405060708).value(), pages);
}

TEST(VolumeGolden, Pages) {
    PageData leaf;
    leaf.set_entry(1, {0x0102030405060708, 9, 0x11121314});
    leaf.set_entry(2, k_zero_entry);
    EXPECT_EQ(golden(leaf.bytes), "00*16 0807060504030201 0900000014131211 00*11 80 00*16340");
    PageData directory;
    directory.set_ref(1, {0x0102030405060708, 9, 100, {1, 2, 3, 4}});
    EXPECT_EQ(golden(directory.bytes),
              "00*32 0807060504030201 0900000064000000 0100000002000000 0300000004 00*16323");
}

TEST(VolumeGolden, ContainerRecords) {
    ContainerTable table(16);
    table.set_live(table.add(0x0102030405060708, ContainerKind::kChunk, 2048), 7);
    table.gain(table.segment(0x20000000001), 3, 99, 0x11121314);
    table.adopt(table.add(0x20000000002, ContainerKind::kEnded, 40), 40, 0x20000000003);
    table.add(0x20000000003, ContainerKind::kIndex, 1);
    table.add(0x20000000004, ContainerKind::kChunk, 5);
    table.condemn(0x20000000004, RecordNumber(1));
    auto const pages = table.take_changed_pages({});
    ASSERT_EQ(pages.size(), 1U);
    EXPECT_EQ(golden(pages.at(0)->bytes),
              "0807060504030201 0008000007000000 03 00*15 0100000000020000 0400000001000000 01 00*15 "
              "0200000000020000 2800000000000000 0400000000000000 0300000000020000 0300000000020000 "
              "0100000000000000 05 00*15 0400000000020000 0500000000000000 0301 00*16238");
    ContainerTable read(16);
    ASSERT_TRUE(read.restore_page(0, *pages.at(0)));
    read.touch_page(0);
    EXPECT_EQ(golden(read.take_changed_pages({}).at(0)->bytes), golden(pages.at(0)->bytes));
}

TEST(VolumeGolden, Root) {
    constexpr std::string_view k_bytes =
        "56524f5401 00*8 020000d204000000 0000006300000000 0000000100010008 0706050403020109 0000006400000001 "
        "0000000200000003 0000000400000001 0018171615141312 1132000000010000 0003000000102700 00000000004d0000 "
        "004abad351";
    PageRef const page{0x0102030405060708, 9, 100, {1, 2, 3, 4}};
    CheckpointRoot const root{2 * k_tib, 1234, RecordNumber(99), {{}, page}, {{0x1112131415161718, 50, 1, 3}},
                              10000,     77};
    EXPECT_EQ(golden(as_bytes(encode_root(root))), k_bytes);
    auto const bytes = from_golden(k_bytes);
    auto const read = decode_root(as_text(bytes));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(read->pages, root.pages);
    EXPECT_EQ(golden(as_bytes(encode_root(*read))), k_bytes);
}

TEST(VolumeGolden, Table) {
    constexpr std::string_view k_bytes =
        "0100000002000000 0100000000000000 0807060504030201 0900000064000000 0100000002000000 0300000004000000 "
        "1817161514131211 f9030000f401 00*10 0200000000000000 0500000000000000 0100000000000000 0100000000020000 "
        "0200000000000000 0300004d00000000 2423222100000000 0400000504030201 0200000000000000";
    CheckpointTable table;
    table.container_pages = {{0x0102030405060708, 9, 100, {1, 2, 3, 4}}};
    table.map_chunks = {{0x1112131415161718, 1017, 500, false}, {2, 5, 0, true}};
    table.segments = {{0x20000000001, {{3, 77, 0x21222324}, {4, 0x0102030405, 2}}}};
    EXPECT_EQ(golden(encode_table(table)), k_bytes);
    auto const read = decode_table(from_golden(k_bytes));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(golden(encode_table(*read)), k_bytes);
}

}  // namespace
}  // namespace corelet
