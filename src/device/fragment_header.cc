#include "device/fragment_header.h"

#include <xxhash.h>

#include "base/codec.h"

namespace corelet {

namespace {
constexpr u32 k_magic = 0x31484643;  // "CFH1"
constexpr usize k_checksum_at = 96;
constexpr usize k_opaque_at = 104;
static_assert(k_opaque_at + k_fragment_opaque_bytes_max <= k_fragment_header_fixed_bytes);
constexpr u64 k_blocks_max = div_ceil(k_fragment_bytes_max, k_block_bytes);
constexpr u32 k_extents_max = 4096;

// Header bytes with the checksum's own place taken as zero.
u64 header_checksum(Bytes blocks, u64 key) {
    u64 const head = XXH3_64bits_withSeed(blocks.data(), k_checksum_at, key);
    Bytes const rest = blocks.subspan(k_checksum_at + 8);
    return XXH3_64bits_withSeed(rest.data(), rest.size(), head);
}

void put_at(Buffer& out, usize at, Bytes bytes) {
    CORELET_ASSERT(at + bytes.size() <= out.size());
    if (!bytes.empty()) std::memcpy(out.mutable_data() + at, bytes.data(), bytes.size());
}
}  // namespace

Place fragment_place(const FragmentId& id, u64 block) {
    return {id.chunk.space.v, id.chunk.seq, u64{id.position} << 48 | block};
}

u32 StoredHeader::plain_crc(u64 block) const {
    CORELET_ASSERT(block < stored_crcs.size());
    return unbind_block_crc(stored_crcs[block], fragment_place(entry.id(), block));
}

u32 content_tag_of(const std::vector<u32>& plain_crcs) {
    return crc32c({reinterpret_cast<const u8*>(plain_crcs.data()), plain_crcs.size() * sizeof(u32)});
}

std::vector<u32> block_crcs_of(const BufferChain& data) {
    CORELET_ASSERT(data.size() % k_block_bytes == 0);
    std::vector<u32> crcs;
    crcs.reserve(data.size() / k_block_bytes);
    u32 crc = 0;
    u64 in_block = 0;
    for (const Buffer& part : data.parts()) {
        Bytes bytes = part.bytes();
        while (!bytes.empty()) {
            usize const take = std::min<usize>(bytes.size(), k_block_bytes - in_block);
            crc = crc32c(bytes.first(take), crc);
            bytes = bytes.subspan(take);
            in_block += take;
            if (in_block < k_block_bytes) continue;
            crcs.push_back(crc);
            crc = 0;
            in_block = 0;
        }
    }
    return crcs;
}

Buffer encode_fragment_header(const StoredHeader& h, u64 format_key) {
    const FragmentEntry& e = h.entry;
    CORELET_ASSERT(h.stored_crcs.size() == e.blocks && !h.extents.empty());
    CORELET_ASSERT(h.fields.opaque.size() <= k_fragment_opaque_bytes_max);
    Writer w;
    w.put(k_magic).put(u16{1}).put(static_cast<u16>(e.is(FragmentEntry::k_adopted) ? 1 : 0)).put(format_key);
    w.put(e.space).put(e.seq).put(e.position).put(e.k).put(e.m).put(u8{0}).put(e.blocks);
    w.put(h.fields.chunk_data_bytes).put(h.fields.map_epoch).put(h.written_seq).put(e.content_tag);
    w.put(static_cast<u32>(h.extents.size())).put(h.extents[0].start).put(h.extents[0].units);
    w.put(static_cast<u32>(h.fields.opaque.size())).put(u32{0});
    CORELET_ASSERT(w.size() == k_checksum_at - 8);
    w.put(u64{0});
    Buffer out = Buffer::zeroed(h.shape().header_blocks * k_block_bytes);
    put_at(out, 0, w.bytes());
    put_at(out, k_opaque_at, h.fields.opaque);
    usize const crc_bytes = h.stored_crcs.size() * sizeof(u32);
    put_at(out, k_fragment_header_fixed_bytes, {reinterpret_cast<const u8*>(h.stored_crcs.data()), crc_bytes});
    Writer more;
    for (usize i = 1; i < h.extents.size(); ++i) more.put(h.extents[i].start).put(h.extents[i].units);
    put_at(out, k_fragment_header_fixed_bytes + crc_bytes, more.bytes());
    u64 const checksum = header_checksum(out, format_key);
    std::memcpy(out.mutable_data() + k_checksum_at, &checksum, sizeof checksum);
    return out;
}

u64 peek_fragment_header(Bytes first_block, u64 format_key) {
    CORELET_ASSERT(first_block.size() >= k_block_bytes);
    Reader r(first_block);
    bool const ours = r.get<u32>() == k_magic && r.get<u16>() == 1;
    bool const adopted = r.get<u16>() & 1;
    if (!ours || r.get<u64>() != format_key) return 0;
    static_cast<void>(r.get_raw(8 + 8 + 4));
    u32 const blocks = r.get<u32>();
    static_cast<void>(r.get_raw(8 + 8 + 8 + 4));
    u32 const extents = r.get<u32>();
    if (blocks == 0 || blocks > k_blocks_max || extents == 0 || extents > k_extents_max) return 0;
    return fragment_shape(blocks, extents, adopted).header_blocks;
}

Result<StoredHeader> decode_fragment_header(Bytes blocks, u64 format_key) {
    u64 const header_blocks = peek_fragment_header(blocks, format_key);
    if (header_blocks == 0 || header_blocks * k_block_bytes != blocks.size())
        return fail(Code::kCorrupt, "this is no fragment header");
    u64 stored = 0;
    std::memcpy(&stored, blocks.data() + k_checksum_at, sizeof stored);
    if (stored != header_checksum(blocks, format_key))
        return fail(Code::kCorrupt, "fragment header checksum is wrong");
    Reader r(blocks);
    StoredHeader h;
    FragmentEntry& e = h.entry;
    static_cast<void>(r.get_raw(6));
    if (r.get<u16>() & 1) e.flags |= FragmentEntry::k_adopted;
    static_cast<void>(r.get<u64>());
    e.space = r.get<u64>();
    e.seq = r.get<u64>();
    e.position = r.get<u8>();
    e.k = r.get<u8>();
    e.m = r.get<u8>();
    static_cast<void>(r.get<u8>());
    e.blocks = r.get<u32>();
    h.fields.k = e.k;
    h.fields.m = e.m;
    h.fields.chunk_data_bytes = r.get<u64>();
    h.fields.map_epoch = r.get<MapEpoch>();
    h.written_seq = r.get<u64>();
    e.content_tag = r.get<u32>();
    u32 const extents = r.get<u32>();
    e.first_unit = r.get<u32>();
    h.extents.push_back({e.first_unit, r.get<u32>()});
    u32 const opaque_bytes = r.get<u32>();
    if (opaque_bytes > k_fragment_opaque_bytes_max)
        return fail(Code::kCorrupt, "fragment header fields make no sense");
    Bytes const opaque = blocks.subspan(k_opaque_at, opaque_bytes);
    h.fields.opaque.assign(opaque.begin(), opaque.end());
    Reader lists(blocks.subspan(k_fragment_header_fixed_bytes));
    h.stored_crcs.resize(e.blocks);
    for (u32& crc : h.stored_crcs) crc = lists.get<u32>();
    for (u32 i = 1; i < extents; ++i) {
        u32 const start = lists.get<u32>();
        h.extents.push_back({start, lists.get<u32>()});
    }
    if (r.failed() || lists.failed()) return fail(Code::kCorrupt, "fragment header fields make no sense");
    return h;
}

}  // namespace corelet
