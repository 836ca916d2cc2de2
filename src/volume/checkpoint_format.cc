#include "volume/checkpoint_format.h"

#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {

namespace {

constexpr u32 k_root_magic = 0x544F5256;  // "VROT"
constexpr u16 k_checkpoint_version = 1;
constexpr usize k_table_header_bytes = 16;
constexpr usize k_map_chunk_bytes = 24;
constexpr usize k_segment_header_bytes = 16;
constexpr usize k_live_block_bytes = 16;

std::unexpected<Error> corrupt(const char* what) {
    return fail(Code::kCorrupt, std::string("volume checkpoint: ") + what);
}

void put_ref(Writer& out, const PageRef& ref) {
    out.put(ref.chunk).put(ref.first_block).put(ref.chunk_blocks);
    for (u32 const crc : ref.crcs) out.put(crc);
}
PageRef get_ref(Reader& in) {
    PageRef ref;
    ref.chunk = in.get<u64>();
    ref.first_block = in.get<u32>();
    ref.chunk_blocks = in.get<u32>();
    for (u32& crc : ref.crcs) crc = in.get<u32>();
    return ref;
}
bool is_sane(const PageRef& ref) {
    return ref.is_null() ||
           (ref.chunk_blocks >= k_page_blocks && ref.first_block <= ref.chunk_blocks - k_page_blocks);
}

}  // namespace

std::string encode_root(const CheckpointRoot& root) {
    Writer out;
    out.put(k_root_magic)
        .put(k_checkpoint_version)
        .put(u16{0})
        .put(root.size_bytes)
        .put(root.mapped_blocks)
        .put(root.position);
    u16 present = 0;
    for (const PageRef& ref : root.pages) present = static_cast<u16>(present + (ref.is_null() ? 0 : 1));
    out.put(present);
    for (usize i = 0; i < root.pages.size(); ++i) {
        if (root.pages[i].is_null()) continue;
        out.put(static_cast<u16>(i));
        put_ref(out, root.pages[i]);
    }
    out.put(static_cast<u16>(root.table.size()));
    for (const TableExtent& extent : root.table)
        out.put(extent.chunk).put(extent.chunk_blocks).put(extent.first_block).put(extent.blocks);
    out.put(root.table_bytes).put(root.table_crc);
    out.put(crc32c(out.bytes()));
    return std::string(as_text(out.bytes()));
}

Result<CheckpointRoot> decode_root(std::string_view text) {
    Bytes const bytes = as_bytes(text);
    if (bytes.size() < 12) return corrupt("root too short");
    Reader in(bytes.first(bytes.size() - 4));
    Reader tail(bytes.last(4));
    u32 const magic = in.get<u32>();
    u16 const version = in.get<u16>();
    (void)in.get<u16>();
    if (magic != k_root_magic) return corrupt("this is no root");
    if (version != k_checkpoint_version)
        return fail(Code::kUnsupported, "volume checkpoint of another version", version);
    if (tail.get<u32>() != crc32c(bytes.first(bytes.size() - 4))) return corrupt("root's checksum");
    CheckpointRoot root;
    root.size_bytes = in.get<u64>();
    root.mapped_blocks = in.get<u64>();
    root.position = in.get<RecordNumber>();
    u16 const pages = in.get<u16>();
    for (u16 i = 0; i < pages && !in.failed(); ++i) {
        u16 const index = in.get<u16>();
        PageRef const ref = get_ref(in);
        if (index >= k_volume_bytes_max / k_tib || !is_sane(ref)) return corrupt("root's page");
        if (root.pages.size() <= index) root.pages.resize(index + usize{1});
        root.pages[index] = ref;
    }
    u16 const extents = in.get<u16>();
    for (u16 i = 0; i < extents && !in.failed(); ++i) {
        TableExtent extent;
        extent.chunk = in.get<u64>();
        extent.chunk_blocks = in.get<u32>();
        extent.first_block = in.get<u32>();
        extent.blocks = in.get<u32>();
        if (extent.blocks > extent.chunk_blocks || extent.first_block > extent.chunk_blocks - extent.blocks)
            return corrupt("root's table");
        root.table.push_back(extent);
    }
    root.table_bytes = in.get<u64>();
    root.table_crc = in.get<u32>();
    if (!in.complete() || root.size_bytes > k_volume_bytes_max) return corrupt("root's length");
    return root;
}

u64 encoded_table_bytes(const CheckpointTable& table, usize further_map_chunks) {
    u64 size = k_table_header_bytes + table.container_pages.size() * sizeof(PageRef);
    size += (table.map_chunks.size() + further_map_chunks) * k_map_chunk_bytes;
    for (const auto& segment : table.segments)
        size += k_segment_header_bytes + segment.live.size() * k_live_block_bytes;
    return size;
}

std::vector<u8> encode_table(const CheckpointTable& table) {
    Writer out;
    out.put(static_cast<u32>(table.container_pages.size())).put(static_cast<u32>(table.map_chunks.size()));
    out.put(static_cast<u32>(table.segments.size())).put(u32{0});
    for (const PageRef& ref : table.container_pages) put_ref(out, ref);
    for (const auto& chunk : table.map_chunks)
        out.put(chunk.seq).put(chunk.blocks).put(chunk.live).put(u32{chunk.condemned ? 1U : 0U}).put(u32{0});
    for (const auto& segment : table.segments) {
        out.put(segment.seq).put(static_cast<u32>(segment.live.size())).put(u32{0});
        for (const auto& block : segment.live) {
            // 40 bits of address are a volume of 4 PiB, 24 a segment of 64 GiB.
            CORELET_ASSERT(block.lba < (u64{1} << 40) && block.block < (u32{1} << 24));
            out.put((block.lba << 24) | block.block).put(block.crc).put(u32{0});
        }
    }
    CORELET_ASSERT(out.size() == encoded_table_bytes(table, 0));
    return std::move(out.mutable_data());
}

Result<CheckpointTable> decode_table(Bytes bytes) {
    Reader in(bytes);
    u32 const pages = in.get<u32>();
    u32 const chunks = in.get<u32>();
    u32 const segments = in.get<u32>();
    (void)in.get<u32>();
    if (u64{pages} * sizeof(PageRef) + u64{chunks} * k_map_chunk_bytes + u64{segments} * k_segment_header_bytes >
        bytes.size())
        return corrupt("table's length");
    CheckpointTable table;
    for (u32 i = 0; i < pages; ++i) {
        table.container_pages.push_back(get_ref(in));
        if (!is_sane(table.container_pages.back())) return corrupt("table's page");
    }
    for (u32 i = 0; i < chunks; ++i) {
        CheckpointTable::MapChunk chunk;
        chunk.seq = in.get<u64>();
        chunk.blocks = in.get<u32>();
        chunk.live = in.get<u32>();
        chunk.condemned = (in.get<u32>() & 1) != 0;
        (void)in.get<u32>();
        if (chunk.seq == 0 || chunk.live > chunk.blocks || (chunk.condemned && chunk.live > 0))
            return corrupt("table's map chunk");
        table.map_chunks.push_back(chunk);
    }
    for (u32 i = 0; i < segments; ++i) {
        CheckpointTable::Segment segment;
        segment.seq = in.get<u64>();
        u32 const count = in.get<u32>();
        (void)in.get<u32>();
        if (u64{count} * k_live_block_bytes > in.remaining()) return corrupt("table's segment");
        for (u32 k = 0; k < count; ++k) {
            u64 const place = in.get<u64>();
            u32 const crc = in.get<u32>();
            (void)in.get<u32>();
            segment.live.push_back({static_cast<u32>(place & 0xFF'FFFF), place >> 24, crc});
        }
        table.segments.push_back(std::move(segment));
    }
    if (!in.complete()) return corrupt("table's length");
    return table;
}

}  // namespace corelet
