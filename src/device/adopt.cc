// A sealed segment becomes a fragment of a chunk with k = 1 without being written again: its extents stay where
// they are, and a header in an extent of its own names them.
#include "device/store_core.h"

namespace corelet {

namespace {
constexpr u64 k_piece_bytes = 1 * k_mib;
}  // namespace

Task<Result<void>> StoreCore::adopt_segment(SegmentId segment, FragmentId id, FragmentHeader header,
                                            std::vector<u32> block_crcs, bool verified) {
    CO_TRY_VOID(may_change());
    if (header.k != 1) co_return fail(Code::kInvalid, "only chunks with k = 1 are adopted in place");
    if (header.opaque.size() > k_fragment_opaque_bytes_max) co_return fail(Code::kInvalid, "opaque is above 1 KiB");
    co_return co_await detached(do_adopt(segment, id, std::move(header), std::move(block_crcs), verified));
}

Task<Result<std::vector<u32>>> StoreCore::crcs_of_segment(SegmentId id, u64 end) {
    std::vector<u32> crcs;
    for (u64 at = 0; at < end; at += k_piece_bytes) {
        u64 const part = std::min(k_piece_bytes, end - at);
        CO_TRY(BufferChain const data, co_await read_segment(id, at, part, IoClass::kHeal));
        std::vector<u32> const more = block_crcs_of(data);
        crcs.insert(crcs.end(), more.begin(), more.end());
    }
    co_return crcs;
}

Task<Result<void>> StoreCore::do_adopt(SegmentId segment, FragmentId id, FragmentHeader header,
                                       std::vector<u32> block_crcs, bool verified) {
    auto const segment_lock = co_await segment_locks_.lock(segment);
    auto const fragment_lock = co_await fragment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    const SegmentEntry* const entry = meta_.segment(segment);
    if (!entry) co_return no_such_segment();
    if (!entry->sealed || entry->end == 0 || entry->end > k_fragment_bytes_max)
        co_return fail(Code::kInvalid, "only a sealed segment of up to 64 MiB that is not empty is adopted");
    if (meta_.fragments().find(id)) co_return fail(Code::kExists, "the fragment is here");
    u64 const end = entry->end;
    std::vector<u32> crcs = block_crcs;
    if (!verified) {
        CO_TRY(crcs, co_await crcs_of_segment(segment, end));
    }
    if (crcs.size() != end / k_block_bytes)
        co_return fail(Code::kInvalid, "one checksum for each block of the segment");
    if (!block_crcs.empty() && block_crcs != crcs)
        co_return fail(Code::kCorrupt, "the segment does not hold what it should");
    CO_TRY_VOID(may_change());
    std::vector<UnitExtent> extents = meta_.segment(segment)->extents;
    u64 const header_units =
        div_ceil(fragment_shape(crcs.size(), extents.size() + 1, true).header_blocks, k_unit_blocks);
    CO_TRY(Reservation promised, reserve_units(header_units, SpaceClass::kPacking));
    std::vector<UnitExtent> const own = space_->allocate(header_units);
    promised = Reservation();
    if (own.size() != 1) {
        space_->release(own);
        co_return fail(Code::kNoSpace, "free space is too scattered");
    }
    extents.insert(extents.begin(), own.front());
    StoredHeader stored;
    stored.entry.space = id.chunk.space.v;
    stored.entry.seq = id.chunk.seq;
    stored.entry.position = id.position;
    stored.entry.k = header.k;
    stored.entry.m = header.m;
    stored.entry.blocks = static_cast<u32>(crcs.size());
    stored.entry.content_tag = content_tag_of(crcs);
    stored.entry.flags = FragmentEntry::k_adopted;
    stored.entry.first_unit = own.front().start;
    stored.fields = std::move(header);
    stored.written_seq = next_written_seq();
    stored.extents = extents;
    for (u64 block = 0; block < crcs.size(); ++block)
        stored.stored_crcs.push_back(bind_block_crc(crcs[block], fragment_place(id, block)));
    Buffer const bytes = encode_fragment_header(stored, super_.format_key);
    CO_TRY_VOID(co_await io_.write(super_.layout.device_offset(own.front().start), BufferChain(bytes),
                                   Durability::kDurable, IoClass::kHeal));
    CO_TRY_VOID(co_await commit(records::adopt(segment, stored.entry, extents)));
    forget_runtime(segment);
    co_return Result<void>{};
}

}  // namespace corelet
