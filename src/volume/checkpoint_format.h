// The bytes of a checkpoint beside the map's pages: the root, which the catalog keeps, and the table. Layout:
// docs/format/volume.md.
#pragma once

#include <string>

#include "stream/log_stream.h"
#include "volume/container_table.h"
#include "volume/map_format.h"

namespace corelet {

// Consecutive blocks of a map chunk.
struct TableExtent {
    u64 chunk = 0;
    u32 chunk_blocks = 0;
    u32 first_block = 0;
    u32 blocks = 0;
};

// What the catalog commits. A few hundred bytes; 2 KiB for the largest volume.
struct CheckpointRoot {
    u64 size_bytes = 0;
    u64 mapped_blocks = 0;
    RecordNumber position;           // all records up to it are contained
    std::vector<PageRef> pages;      // of level 2, by index: one for each TiB
    std::vector<TableExtent> table;  // in order
    u64 table_bytes = 0;
    u32 table_crc = 0;
};
[[nodiscard]] std::string encode_root(const CheckpointRoot& root);
[[nodiscard]] Result<CheckpointRoot> decode_root(std::string_view bytes);

// What each checkpoint writes anew.
struct CheckpointTable {
    struct MapChunk {
        u64 seq = 0;
        u32 blocks = 0;
        u32 live = 0;
        bool condemned = false;
    };
    struct Segment {
        u64 seq = 0;
        std::vector<ContainerTable::LiveBlock> live;
    };
    std::vector<PageRef> container_pages;
    std::vector<MapChunk> map_chunks;
    std::vector<Segment> segments;  // those with live blocks
};
[[nodiscard]] std::vector<u8> encode_table(const CheckpointTable& table);
[[nodiscard]] u64 encoded_table_bytes(const CheckpointTable& table, usize further_map_chunks);
[[nodiscard]] Result<CheckpointTable> decode_table(Bytes bytes);

}  // namespace corelet
