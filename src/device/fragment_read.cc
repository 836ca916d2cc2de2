// Reading fragments: each block is checked against the header's checksum, which is bound to the place it should be
// in.
#include <fmt/format.h>

#include "device/store_core.h"

namespace corelet {

namespace {
constexpr u64 k_scrub_bytes = 1 * k_mib;

// After a wait: the fragment may have been removed, or moved by a repair, and its place be another's.
Result<void> still_there(const FragmentIndex& fragments, const FragmentEntry& entry) {
    const FragmentEntry* const now = fragments.find(entry.id());
    if (!now) return no_such_fragment();
    if (now->first_unit != entry.first_unit) return fail(Code::kUnavailable, "the fragment was just repaired");
    return {};
}
}  // namespace

Task<Result<HeaderCache::Header>> StoreCore::read_header_at(u64 first_unit, u64 header_blocks, IoClass io) {
    CO_TRY(Buffer const blocks,
           co_await io_.read(super_.layout.device_offset(first_unit), header_blocks * k_block_bytes, io));
    CO_TRY(StoredHeader header, decode_fragment_header(blocks, super_.format_key));
    co_return std::make_shared<const StoredHeader>(std::move(header));
}

Task<Result<HeaderCache::Header>> StoreCore::header_of(FragmentId id, IoClass io) {
    if (HeaderCache::Header cached = headers_.find(id)) co_return cached;
    const FragmentEntry* const found = meta_.fragments().find(id);
    if (!found) co_return no_such_fragment();
    FragmentEntry const entry = *found;
    std::vector<UnitExtent> const extents = meta_.fragments().extents_of(entry);
    bool const adopted = entry.is(FragmentEntry::k_adopted);
    u64 const blocks = fragment_shape(entry.blocks, extents.size(), adopted).header_blocks;
    Result<HeaderCache::Header> header = co_await read_header_at(entry.first_unit, blocks, io);
    CO_TRY_VOID(still_there(meta_.fragments(), entry));
    if (header) {
        const StoredHeader& h = **header;
        bool const right = h.entry.id() == id && h.entry.blocks == entry.blocks &&
                           h.entry.content_tag == entry.content_tag && h.extents == extents &&
                           h.entry.is(FragmentEntry::k_adopted) == adopted;
        if (!right) header = fail(Code::kCorrupt, "another fragment's header");
    }
    if (!header) {
        if (header.error().is_corruption()) ++io_.telemetry().corrupt_blocks;
        co_return std::unexpected(with_context(header.error(), "header of fragment " + to_string(id.chunk)));
    }
    headers_.insert(*header);
    co_return header;
}

Task<Result<FragmentData>> StoreCore::read_fragment(FragmentId id, u64 offset, u64 length, ReadOptions options) {
    const FragmentEntry* const found = meta_.fragments().find(id);
    if (!found) co_return no_such_fragment();
    FragmentEntry const entry = *found;
    bool const aligned = offset % k_block_bytes == 0 && length % k_block_bytes == 0 && length > 0;
    if (!aligned || offset > entry.bytes() || length > entry.bytes() - offset)
        co_return fail(Code::kInvalid,
                       fmt::format("bytes {}+{} of a fragment of {}", offset, length, entry.bytes()));
    HeaderCache::Header header;
    if (options.verify) {
        CO_TRY(header, co_await header_of(id, options.io));
    }
    CO_TRY_VOID(still_there(meta_.fragments(), entry));
    std::vector<UnitExtent> const extents = meta_.fragments().extents_of(entry);
    FragmentShape const shape = fragment_shape(entry.blocks, extents.size(), entry.is(FragmentEntry::k_adopted));
    u64 const start = shape.data_start_block * k_block_bytes + offset;
    Result<BufferChain> read = co_await read_pieces(pieces_of(extents, start, length), options.io);
    CO_TRY_VOID(still_there(meta_.fragments(), entry));
    if (!read) co_return std::unexpected(std::move(read).error());
    FragmentData out;
    out.data = *std::move(read);
    if (!options.verify) co_return out;
    out.block_crcs = block_crcs_of(out.data);
    for (u64 i = 0; i < out.block_crcs.size(); ++i) {
        u64 const block = offset / k_block_bytes + i;
        if (out.block_crcs[i] == header->plain_crc(block)) continue;
        ++io_.telemetry().corrupt_blocks;
        co_return fail(Code::kCorrupt,
                       fmt::format("block {} of fragment {} position {} does not verify", block,
                                   to_string(id.chunk), id.position),
                       block);
    }
    co_return out;
}

Task<Result<void>> StoreCore::verify_fragment(FragmentId id, IoClass io) {
    const FragmentEntry* const entry = meta_.fragments().find(id);
    if (!entry) co_return no_such_fragment();
    u64 const bytes = entry->bytes();
    // The header from the device, not from memory.
    headers_.erase(id);
    for (u64 at = 0; at < bytes; at += k_scrub_bytes) {
        u64 const part = std::min(k_scrub_bytes, bytes - at);
        ReadOptions options;
        options.io = io;
        Result<FragmentData> const data = co_await read_fragment(id, at, part, options);
        if (!data) co_return std::unexpected(data.error());
        io_.telemetry().scrubbed_bytes += part;
    }
    co_return Result<void>{};
}

}  // namespace corelet
