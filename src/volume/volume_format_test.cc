// Every stored form comes back as it was, and nothing else passes for one.
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/prng.h"
#include "volume/checkpoint_format.h"
#include "volume/chunk_index.h"
#include "volume/log_entry.h"

namespace corelet {
namespace {

template <class Kind>
Kind round_trip(const Kind& entry) {
    auto const bytes = encode_volume_entry(entry);
    auto const decoded = decode_volume_entry(bytes);
    EXPECT_TRUE(decoded.has_value());
    // Every shorter form is refused.
    for (usize size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_volume_entry(Bytes(bytes).first(size)));
    return decoded ? std::get<Kind>(*decoded) : Kind{};
}

TEST(VolumeEntryFormat, ComesBack) {
    auto const write = round_trip(volume_entry::Write{77, {{5, 3}, {1'000'000, 1024}}});
    EXPECT_EQ(write.ticket, 77U);
    EXPECT_EQ(write.extents, (std::vector<Extent>{{5, 3}, {1'000'000, 1024}}));
    auto const clear = round_trip(volume_entry::Clear{78, true, {{9, 1}}});
    EXPECT_TRUE(clear.keep_allocated);
    EXPECT_EQ(clear.extents, (std::vector<Extent>{{9, 1}}));
    auto const packed = round_trip(volume_entry::Packed{u64{3} << 40, 2048});
    EXPECT_EQ(packed.chunk, u64{3} << 40);
    EXPECT_EQ(packed.chunk_blocks, 2048U);
    EXPECT_EQ(round_trip(volume_entry::Condemned{{1, 2, 3}}).containers, (std::vector<u64>{1, 2, 3}));
    auto const adopted = round_trip(volume_entry::Adopted{1, 2, 3, 4});
    EXPECT_EQ(adopted.index_blocks, 4U);
    EXPECT_EQ(round_trip(volume_entry::Resized{1 * k_tib}).size_bytes, 1 * k_tib);
}

TEST(VolumeEntryFormat, RefusesWhatIsBeyondTheBounds) {
    auto const refused = [](const VolumeEntry& entry) { return !decode_volume_entry(encode_volume_entry(entry)); };
    EXPECT_TRUE(refused(volume_entry::Write{1, {{0, 0}}})) << "an empty run";
    EXPECT_TRUE(refused(volume_entry::Write{1, {{k_volume_bytes_max / k_block_bytes, 1}}}));
    EXPECT_TRUE(refused(volume_entry::Clear{1, false, {{k_volume_bytes_max / k_block_bytes - 1, 2}}}));
    EXPECT_TRUE(refused(volume_entry::Resized{k_volume_bytes_max + 4096}));
    std::vector<u8> later = encode_volume_entry(volume_entry::Resized{4096});
    later[0] = 2;
    EXPECT_EQ(decode_volume_entry(later).error().code, Code::kUnsupported);
    later[0] = 1;
    later[1] = 99;
    EXPECT_EQ(decode_volume_entry(later).error().code, Code::kUnsupported);
}

TEST(ChunkIndexFormat, ComesBackAndAnyBitCounts) {
    ChunkIndex index{42, false, {}};
    for (u32 i = 0; i < 200; ++i) index.entries.push_back({i * 7ULL, 5, i, i * 11});
    Buffer const bytes = encode_chunk_index(index);
    ASSERT_EQ(bytes.size(), index_blocks_for(200) * k_block_bytes);
    auto const extent = peek_chunk_index(bytes.bytes().first(k_block_bytes), 42);
    ASSERT_TRUE(extent);
    EXPECT_EQ(extent->entries, 200U);
    EXPECT_EQ(extent->blocks, 2U);
    auto const decoded = decode_chunk_index(bytes, 42);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->entries, index.entries);
    EXPECT_FALSE(decode_chunk_index(bytes, 43)) << "of another chunk";
    EXPECT_FALSE(decode_chunk_index(bytes.bytes().first(k_block_bytes), 42)) << "half of it";
    Prng draw(1);
    for (u32 i = 0; i < 300; ++i) {
        Buffer bad = Buffer::copy_of(bytes);
        u64 const at = draw.below(32 + 200 * 24);
        bad.mutable_data()[at] ^= static_cast<u8>(1 << draw.below(8));
        EXPECT_FALSE(decode_chunk_index(bad, 42)) << at;
    }
}

TEST(ChunkIndexFormat, DataAndIndexFillAChunk) {
    for (u32 const blocks : {16U, 64U, 2048U, 16384U}) {
        u32 const data = data_blocks_in(blocks);
        EXPECT_LE(data + index_blocks_for(data), blocks);
        EXPECT_GT(data + 1 + index_blocks_for(data + 1), blocks);
    }
}

TEST(MapIndexFormat, ComesBackAndAnyBitCounts) {
    std::vector<MapIndexEntry> pages;
    for (u64 i = 0; i < k_map_chunk_pages_max; ++i) pages.push_back({static_cast<PageKind>(i % 5), i * i});
    Buffer const block = encode_map_index(7, pages);
    ASSERT_EQ(block.size(), k_block_bytes);
    auto const decoded = decode_map_index(block, 7);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, pages);
    for (usize at = 0; at < k_block_bytes; at += 13) {
        Buffer bad = Buffer::copy_of(block);
        bad.mutable_data()[at] ^= 0x10;
        if (at < 32 + k_map_chunk_pages_max * 16) EXPECT_FALSE(decode_map_index(bad, 7)) << at;
    }
}

PageRef some_ref(u64 seed) {
    return {seed, 5, 100, {1, 2, 3, static_cast<u32>(seed)}};
}

TEST(CheckpointFormat, RootComesBackAndAnyBitCounts) {
    CheckpointRoot root{
        5 * k_tib, 1234, RecordNumber(99), {some_ref(1), {}, {}, {}, some_ref(5)}, {{7, 50, 1, 49}, {8, 9, 1, 4}},
        5000,      77};
    std::string const bytes = encode_root(root);
    EXPECT_LE(bytes.size(), 256U);
    auto const decoded = decode_root(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->size_bytes, root.size_bytes);
    EXPECT_EQ(decoded->position, root.position);
    EXPECT_EQ(decoded->pages, root.pages);
    ASSERT_EQ(decoded->table.size(), 2U);
    EXPECT_EQ(decoded->table[1].chunk, 8U);
    EXPECT_EQ(decoded->table_crc, 77U);
    for (usize at = 0; at < bytes.size(); ++at) {
        std::string bad = bytes;
        bad[at] = static_cast<char>(bad[at] ^ 4);
        EXPECT_FALSE(decode_root(bad)) << at;
        EXPECT_FALSE(decode_root(std::string_view(bytes).substr(0, at)));
    }
    root.pages.assign(64, some_ref(3));
    EXPECT_LE(encode_root(root).size(), 2500U) << "the largest volume's still fits into the catalog";
}

TEST(CheckpointFormat, TableComesBack) {
    CheckpointTable table;
    table.container_pages = {some_ref(1), some_ref(2)};
    table.map_chunks = {{1, 1017, 500, false}, {2, 5, 0, true}};
    table.segments = {{9, {{3, 77, 1}, {4, (u64{1} << 34) - 1, 2}}}, {10, {{0, 0, 3}}}};
    auto const bytes = encode_table(table);
    EXPECT_EQ(bytes.size(), encoded_table_bytes(table, 0));
    auto const decoded = decode_table(bytes);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->container_pages, table.container_pages);
    ASSERT_EQ(decoded->map_chunks.size(), 2U);
    EXPECT_TRUE(decoded->map_chunks[1].condemned);
    ASSERT_EQ(decoded->segments.size(), 2U);
    EXPECT_EQ(decoded->segments[0].live[1].lba, (u64{1} << 34) - 1);
    EXPECT_EQ(decoded->segments[0].live[1].block, 4U);
    for (usize size = 0; size < bytes.size(); ++size) EXPECT_FALSE(decode_table(Bytes(bytes).first(size))) << size;
}

// Bytes of no sense are refused, whatever they are; nothing is allocated for lengths that they only claim.
TEST(CheckpointFormat, NoiseIsRefused) {
    Prng draw(9);
    for (u32 round = 0; round < 2000; ++round) {
        std::vector<u8> noise(draw.below(400));
        for (u8& byte : noise) byte = draw.chance(1, 2) ? u8{0} : static_cast<u8>(draw.next());
        (void)decode_table(noise);
        (void)decode_volume_entry(noise);
        EXPECT_FALSE(decode_root(as_text(noise)));
        EXPECT_FALSE(decode_chunk_index(noise, 1));
        EXPECT_FALSE(decode_map_index(noise, 1));
    }
}

}  // namespace
}  // namespace corelet
