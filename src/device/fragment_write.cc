// Fragments: put, remove, quarantine. Data and header are durable before the record that names them, so a fragment
// that is listed is whole; what a crash leaves without a record is free space.
#include "base/fault_point.h"
#include "device/store_core.h"

namespace corelet {

namespace {

constexpr Duration k_late = 2_s;  // at a fault point

Result<void> check_put(const FragmentHeader& header, const BufferChain& data, const std::vector<u32>& block_crcs) {
    if (data.empty() || data.size() % k_block_bytes != 0 || data.size() > k_fragment_bytes_max)
        return fail(Code::kInvalid, "a fragment is a multiple of 4 KiB, not empty and not above 64 MiB");
    if (block_crcs.size() != data.size() / k_block_bytes)
        return fail(Code::kInvalid, "one checksum for each block");
    if (header.opaque.size() > k_fragment_opaque_bytes_max) return fail(Code::kInvalid, "opaque is above 1 KiB");
    if (header.k == 0) return fail(Code::kInvalid, "k is at least 1");
    return {};
}

FragmentEntry make_entry(const FragmentId& id, const FragmentHeader& header, const std::vector<u32>& block_crcs) {
    FragmentEntry entry;
    entry.space = id.chunk.space.v;
    entry.seq = id.chunk.seq;
    entry.position = id.position;
    entry.k = header.k;
    entry.m = header.m;
    entry.blocks = static_cast<u32>(block_crcs.size());
    entry.content_tag = content_tag_of(block_crcs);
    return entry;
}

std::vector<u32> bind_crcs(const FragmentId& id, const std::vector<u32>& plain) {
    std::vector<u32> stored(plain.size());
    for (u64 block = 0; block < plain.size(); ++block)
        stored[block] = bind_block_crc(plain[block], fragment_place(id, block));
    return stored;
}

}  // namespace

Task<Result<void>> StoreCore::put_fragment(FragmentId id, FragmentHeader header, BufferChain data,
                                           std::vector<u32> block_crcs, PutOptions options) {
    CO_TRY_VOID(may_change());
    CO_TRY_VOID(check_put(header, data, block_crcs));
    // The promise is taken over now: its holder may be gone before the space is allocated.
    u64 const units = fragment_units(block_crcs.size());
    Reservation promised;
    if (options.reservation) promised = options.reservation->split(units);
    if (auto const at = options.reserved_by ? runtimes_.find(*options.reserved_by) : runtimes_.end();
        at != runtimes_.end() && promised.units_ < units) {
        u64 const part = std::min(units - promised.units_, at->second.reserved_units);
        at->second.reserved_units -= part;
        promised.core_ = this;
        promised.units_ += part;
    }
    co_return co_await detached(
        do_put(id, std::move(header), std::move(data), std::move(block_crcs), options, std::move(promised)));
}

Task<Result<bool>> StoreCore::is_here(FragmentId id, const FragmentEntry* wanted,
                                      const std::vector<u32>* block_crcs, bool repair) {
    const FragmentEntry* const there = meta_.fragments().find(id);
    if (!there) co_return false;
    bool same = there->blocks == wanted->blocks && there->content_tag == wanted->content_tag &&
                there->k == wanted->k && there->m == wanted->m;
    if (same) {
        // The tag is 32 bits; the header says it block by block.
        Result<HeaderCache::Header> const header = co_await header_of(id, IoClass::kClient);
        if (!header && !repair)
            co_return std::unexpected(with_context(header.error(), "the fragment is here, damaged"));
        for (u64 block = 0; header && same && block < block_crcs->size(); ++block)
            same = (*header)->plain_crc(block) == (*block_crcs)[block];
    }
    if (!same) co_return fail(Code::kExists, "the fragment is here with other bytes");
    co_return !repair;
}

Task<Result<void>> StoreCore::do_put(FragmentId id, FragmentHeader header, BufferChain data,
                                     std::vector<u32> block_crcs, PutOptions options, Reservation promised) {
    if (FAULT_POINT("store.put_late")) co_await env_.clock.sleep(k_late);
    Result<void> done =
        co_await put_locked(id, std::move(header), std::move(data), std::move(block_crcs), options, &promised);
    // What was not used is the segment's again.
    auto const at = options.reserved_by ? runtimes_.find(*options.reserved_by) : runtimes_.end();
    if (at != runtimes_.end()) at->second.reserved_units += std::exchange(promised.units_, 0);
    co_return done;
}

Task<Result<void>> StoreCore::put_locked(FragmentId id, FragmentHeader header, BufferChain data,
                                         std::vector<u32> block_crcs, PutOptions options, Reservation* promised) {
    auto const lock = co_await fragment_locks_.lock(id);
    if (!options.verified && block_crcs_of(data) != block_crcs)
        co_return fail(Code::kCorrupt, "the data do not match their checksums");
    StoredHeader stored;
    stored.entry = make_entry(id, header, block_crcs);
    CO_TRY(bool const here, co_await is_here(id, &stored.entry, &block_crcs, options.repair));
    if (here) co_return Result<void>{};
    // Again, for the waits.
    CO_TRY_VOID(may_change());
    CO_TRY_VOID(may_add_metadata(records::k_fragment_entry_bytes + 4, options.space));
    CO_TRY(std::vector<UnitExtent> const extents, take_fragment_space(block_crcs.size(), options.space, *promised));
    MetadataClaim const claim(*this, records::k_fragment_entry_bytes + 4 + 8 * extents.size());
    stored.fields = std::move(header);
    stored.written_seq = next_written_seq();
    stored.extents = extents;
    stored.entry.first_unit = extents.front().start;
    stored.stored_crcs = bind_crcs(id, block_crcs);
    BufferChain all(encode_fragment_header(stored, super_.format_key));
    all.append(data);
    std::vector<DevicePiece> pieces = pieces_of(extents, 0, all.size());
    CO_TRY_VOID(co_await write_pieces(std::move(pieces), std::move(all), options.io));
    CO_TRY_VOID(co_await commit(records::put(stored.entry, extents)));
    headers_.erase(id);
    co_return Result<void>{};
}

Task<Result<void>> StoreCore::remove_fragment(FragmentId id) {
    CO_TRY_VOID(may_change());
    co_return co_await detached(do_remove(id));
}
Task<Result<void>> StoreCore::do_remove(FragmentId id) {
    auto const lock = co_await fragment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    if (!meta_.fragments().find(id)) co_return no_such_fragment();
    CO_TRY_VOID(co_await commit(records::remove(id)));
    headers_.erase(id);
    co_return Result<void>{};
}

Task<Result<void>> StoreCore::set_quarantine(FragmentId id, bool quarantined) {
    CO_TRY_VOID(may_change());
    co_return co_await detached(do_quarantine(id, quarantined));
}
Task<Result<void>> StoreCore::do_quarantine(FragmentId id, bool quarantined) {
    auto const lock = co_await fragment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    const FragmentEntry* const entry = meta_.fragments().find(id);
    if (!entry) co_return no_such_fragment();
    if (entry->is(FragmentEntry::k_quarantined) == quarantined) co_return Result<void>{};
    co_return co_await commit(records::quarantine(id, quarantined));
}

}  // namespace corelet
