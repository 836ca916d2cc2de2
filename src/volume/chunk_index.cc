#include "volume/chunk_index.h"

#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {

namespace {

constexpr u32 k_data_magic = 0x58444956;  // "VIDX"
constexpr u32 k_map_magic = 0x504D4956;   // "VIMP"
constexpr u16 k_index_version = 1;
constexpr u16 k_flag_of_segment = 1;
constexpr usize k_header_bytes = 32;
constexpr usize k_crc_offset = 24;
constexpr usize k_entry_bytes = 24;
constexpr usize k_map_entry_bytes = 16;

struct Header {
    u16 flags = 0;
    u64 chunk = 0;
    u32 count = 0;
    u32 blocks = 0;
    u32 crc = 0;  // of header and entries, with these four bytes zero
};

void put_header(Writer& out, u32 magic, const Header& header) {
    out.put(magic).put(k_index_version).put(header.flags).put(header.chunk).put(header.count).put(header.blocks);
    out.put(u32{0}).put(u32{0});
    CORELET_ASSERT(out.size() == k_header_bytes);
}

Result<Header> get_header(Bytes bytes, u32 magic, u64 chunk) {
    Reader in(bytes);
    u32 const found = in.get<u32>();
    u16 const version = in.get<u16>();
    Header header;
    header.flags = in.get<u16>();
    header.chunk = in.get<u64>();
    header.count = in.get<u32>();
    header.blocks = in.get<u32>();
    header.crc = in.get<u32>();
    if (in.failed() || found != magic) return fail(Code::kCorrupt, "no index at the head of the chunk", chunk);
    if (version != k_index_version) return fail(Code::kUnsupported, "chunk index of another version", version);
    if (header.chunk != chunk) return fail(Code::kCorrupt, "index of another chunk", header.chunk);
    return header;
}

u32 index_crc(Bytes header_and_entries) {
    static constexpr u8 k_zeros[4] = {};
    u32 crc = crc32c(header_and_entries.first(k_crc_offset));
    crc = crc32c(k_zeros, crc);
    return crc32c(header_and_entries.subspan(k_crc_offset + 4), crc);
}

// Header and entries, checksum filled in, padded with zeros to whole blocks.
Buffer finish(Writer& out, u32 blocks) {
    u32 const crc = index_crc(out.bytes());
    std::memcpy(out.mutable_data().data() + k_crc_offset, &crc, sizeof crc);
    Buffer buffer = Buffer::zeroed(blocks * k_block_bytes);
    CORELET_ASSERT(out.size() <= buffer.size());
    std::memcpy(buffer.mutable_data(), out.data().data(), out.size());
    return buffer;
}

Result<void> check(Bytes bytes, const Header& header, usize entry_bytes) {
    u64 const size = k_header_bytes + u64{header.count} * entry_bytes;
    if (size > bytes.size() || header.blocks != div_ceil(size, k_block_bytes))
        return fail(Code::kCorrupt, "chunk index: sizes do not fit", header.chunk);
    if (index_crc(bytes.first(static_cast<usize>(size))) != header.crc)
        return fail(Code::kCorrupt, "chunk index: checksum", header.chunk);
    return {};
}

}  // namespace

u32 index_blocks_for(u64 entries) {
    return static_cast<u32>(div_ceil(k_header_bytes + entries * k_entry_bytes, k_block_bytes));
}

u32 data_blocks_in(u32 chunk_blocks) {
    u32 data = chunk_blocks - 1;
    while (data > 0 && data + index_blocks_for(data) > chunk_blocks) --data;
    return data;
}

Buffer encode_chunk_index(const ChunkIndex& index) {
    u32 const blocks = index_blocks_for(index.entries.size());
    Writer out;
    put_header(out, k_data_magic,
               {index.of_segment ? k_flag_of_segment : u16{0}, index.chunk, static_cast<u32>(index.entries.size()),
                blocks, 0});
    for (const IndexEntry& entry : index.entries)
        out.put(entry.lba).put(entry.old_container).put(entry.old_block).put(entry.crc);
    return finish(out, blocks);
}

Result<IndexExtent> peek_chunk_index(Bytes first_block, u64 chunk) {
    TRY(Header const header, get_header(first_block, k_data_magic, chunk));
    if (header.blocks != index_blocks_for(header.count))
        return fail(Code::kCorrupt, "chunk index: sizes do not fit", chunk);
    return IndexExtent{header.count, header.blocks};
}

Result<ChunkIndex> decode_chunk_index(Bytes index_blocks, u64 chunk) {
    TRY(Header const header, get_header(index_blocks, k_data_magic, chunk));
    TRY_VOID(check(index_blocks, header, k_entry_bytes));
    ChunkIndex index{chunk, (header.flags & k_flag_of_segment) != 0, {}};
    index.entries.reserve(header.count);
    Reader in(index_blocks.subspan(k_header_bytes));
    for (u32 i = 0; i < header.count; ++i) {
        IndexEntry entry;
        entry.lba = in.get<u64>();
        entry.old_container = in.get<u64>();
        entry.old_block = in.get<u32>();
        entry.crc = in.get<u32>();
        if (entry.lba >= k_volume_bytes_max / k_block_bytes)
            return fail(Code::kCorrupt, "chunk index: address", chunk);
        index.entries.push_back(entry);
    }
    CORELET_ASSERT(!in.failed());
    return index;
}

Buffer encode_map_index(u64 chunk, const std::vector<MapIndexEntry>& pages) {
    CORELET_ASSERT(pages.size() <= k_map_chunk_pages_max);
    Writer out;
    put_header(out, k_map_magic, {0, chunk, static_cast<u32>(pages.size()), k_map_index_blocks, 0});
    for (const MapIndexEntry& page : pages)
        out.put(static_cast<u8>(page.kind)).put(u8{0}).put(u16{0}).put(u32{0}).put(page.index);
    return finish(out, k_map_index_blocks);
}

Result<std::vector<MapIndexEntry>> decode_map_index(Bytes block, u64 chunk) {
    TRY(Header const header, get_header(block, k_map_magic, chunk));
    TRY_VOID(check(block, header, k_map_entry_bytes));
    std::vector<MapIndexEntry> pages;
    Reader in(block.subspan(k_header_bytes));
    for (u32 i = 0; i < header.count; ++i) {
        u8 const kind = in.get<u8>();
        (void)in.get_raw(7);
        u64 const index = in.get<u64>();
        if (kind > static_cast<u8>(PageKind::kTable))
            return fail(Code::kUnsupported, "map chunk: kind of page", kind);
        pages.push_back({static_cast<PageKind>(kind), index});
    }
    return pages;
}

}  // namespace corelet
