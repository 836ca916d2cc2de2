// The indexes that stand at the head of a volume's chunks, so that a chunk tells what it holds. Layout:
// docs/format/volume.md.
//
// A data chunk is index blocks, then the data blocks that the index lists, in its order. Replay relocates by it,
// the cleaner asks the map about each of its entries. The index chunk of an adopted segment has index blocks only,
// and its entries name blocks of the segment. A map chunk is one index block, then 16 KiB pages.
#pragma once

#include "volume/map_format.h"

namespace corelet {

// One data block: what it was when it came, and its checksum.
struct IndexEntry {
    u64 lba = 0;
    u64 old_container = 0;
    u32 old_block = 0;
    u32 crc = 0;
    friend bool operator==(const IndexEntry&, const IndexEntry&) = default;
};
struct ChunkIndex {
    u64 chunk = 0;            // its own seq: an index read from elsewhere does not pass
    bool of_segment = false;  // entries name blocks of an adopted segment; no data blocks follow
    std::vector<IndexEntry> entries;
};

// Blocks that an index of so many entries takes.
[[nodiscard]] u32 index_blocks_for(u64 entries);
// Most data blocks that fit with their index into a chunk of `chunk_blocks`.
[[nodiscard]] u32 data_blocks_in(u32 chunk_blocks);
// A buffer of index_blocks_for(entries) blocks.
[[nodiscard]] Buffer encode_chunk_index(const ChunkIndex& index);
// Entries and blocks that the index at the start of `first_block` takes, so that the rest can be read. kCorrupt,
// kUnsupported.
struct IndexExtent {
    u32 entries = 0;
    u32 blocks = 0;
};
[[nodiscard]] Result<IndexExtent> peek_chunk_index(Bytes first_block, u64 chunk);
[[nodiscard]] Result<ChunkIndex> decode_chunk_index(Bytes index_blocks, u64 chunk);

// What a page in a map chunk is.
enum class PageKind : u8 { kLeaf = 0, kDirectory1 = 1, kDirectory2 = 2, kContainers = 3, kTable = 4 };
struct MapIndexEntry {
    PageKind kind = PageKind::kLeaf;
    u64 index = 0;  // of the page in its kind
    friend bool operator==(const MapIndexEntry&, const MapIndexEntry&) = default;
};
inline constexpr u32 k_map_index_blocks = 1;
inline constexpr u32 k_map_chunk_pages_max = 254;  // what one index block lists
[[nodiscard]] Buffer encode_map_index(u64 chunk, const std::vector<MapIndexEntry>& pages);
[[nodiscard]] Result<std::vector<MapIndexEntry>> decode_map_index(Bytes block, u64 chunk);

}  // namespace corelet
