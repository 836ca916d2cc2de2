// Log segments, what goes through the metadata journal: prepare, grow, fence, seal, drop. One at a time for each
// segment.
#include <fmt/format.h>

#include "device/store_core.h"

namespace corelet {

Task<Result<void>> StoreCore::prepare_segment(SegmentId id, SegmentSpec spec) {
    CO_TRY_VOID(may_change());
    if (spec.opaque.size() > k_segment_opaque_bytes_max) co_return fail(Code::kInvalid, "opaque is above 4 KiB");
    if (spec.initial_bytes == 0 || spec.initial_bytes > k_segment_bytes_max || spec.epoch.is_zero())
        co_return fail(Code::kInvalid, "a segment has an epoch and between 1 byte and 64 GiB");
    co_return co_await detached(do_prepare(id, std::move(spec)));
}

Task<Result<void>> StoreCore::do_prepare(SegmentId id, SegmentSpec spec) {
    auto const lock = co_await segment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    if (meta_.segment(id) || meta_.dropped().has(id))
        co_return fail(Code::kExists, "the segment was prepared here before");
    SegmentEntry entry;
    entry.id = id;
    entry.salt = spec.salt;
    entry.opened_epoch = entry.epoch = spec.epoch;
    entry.owner = spec.owner;
    entry.opaque = std::move(spec.opaque);
    entry.reserved_units = div_ceil(spec.packed_reservation_bytes, k_unit_bytes);
    u64 const metadata_bytes = records::k_segment_entry_bytes + 256 + entry.opaque.size();
    CO_TRY_VOID(may_add_metadata(metadata_bytes, spec.space));
    MetadataClaim const claim(*this, metadata_bytes);
    CO_TRY(Reservation packed, reserve_units(entry.reserved_units, spec.space));
    CO_TRY(entry.extents, co_await take_log_space(div_ceil(spec.initial_bytes, k_unit_bytes), spec.space));
    CO_TRY_VOID(co_await commit(records::prepare(entry)));
    SegmentRuntime& runtime = runtimes_[id];
    runtime.reserved_units = std::exchange(packed.units_, 0);
    co_return Result<void>{};
}

Task<Result<SegmentInfo>> StoreCore::grow_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 bytes,
                                                  SpaceClass space) {
    CO_TRY_VOID(may_change());
    if (bytes == 0 || bytes > k_segment_bytes_max)
        co_return fail(Code::kInvalid, "a segment grows by up to 64 GiB");
    co_return co_await detached(do_grow(id, epoch, owner, div_ceil(bytes, k_unit_bytes), space));
}

Task<Result<SegmentInfo>> StoreCore::do_grow(SegmentId id, Epoch epoch, CoreletId owner, u64 units,
                                             SpaceClass space) {
    auto const lock = co_await segment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    const SegmentEntry* const entry = meta_.segment(id);
    if (!entry) co_return no_such_segment();
    CO_TRY_VOID(check_writer(*entry, runtimes_.at(id), epoch, owner));
    if (entry->units() + units > k_segment_bytes_max / k_unit_bytes)
        co_return fail(Code::kInvalid, "a segment has at most 64 GiB");
    CO_TRY_VOID(may_add_metadata(256, space));
    MetadataClaim const claim(*this, 256);
    CO_TRY(std::vector<UnitExtent> const extents, co_await take_log_space(units, space));
    CO_TRY_VOID(co_await commit(records::grow(id, extents)));
    co_return meta_.segment(id)->info();
}

Task<Result<SegmentInfo>> StoreCore::fence_segment(SegmentId id, Epoch epoch, CoreletId owner) {
    CO_TRY_VOID(may_change());
    co_return co_await detached(do_fence(id, epoch, owner));
}

Task<Result<SegmentInfo>> StoreCore::do_fence(SegmentId id, Epoch epoch, CoreletId owner) {
    auto const lock = co_await segment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    const SegmentEntry* const entry = meta_.segment(id);
    if (!entry) co_return no_such_segment();
    if (epoch < entry->epoch || (epoch == entry->epoch && owner != entry->owner))
        co_return fail(Code::kFenced, fmt::format("segment {} is at epoch {}", to_string(id), entry->epoch.v),
                       entry->epoch.v);
    if (epoch > entry->epoch) {
        runtimes_.at(id).fencing = epoch;  // no older write begins any more
        CO_TRY_VOID(co_await commit(records::fence(id, epoch, owner)));
    }
    // Those under way have landed, and will be found, or fail.
    if (epoch > meta_.segment(id)->opened_epoch) co_await wait_drained(id);
    CO_TRY_VOID(may_change());
    co_return meta_.segment(id)->info();
}

Task<Result<SegmentInfo>> StoreCore::seal_segment(SegmentId id, u64 end) {
    CO_TRY_VOID(may_change());
    if (end % k_block_bytes != 0) co_return fail(Code::kInvalid, "a segment ends at a multiple of 4 KiB");
    co_return co_await detached(do_seal(id, end));
}

Task<Result<SegmentInfo>> StoreCore::do_seal(SegmentId id, u64 end) {
    auto const lock = co_await segment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    const SegmentEntry* const entry = meta_.segment(id);
    if (!entry) co_return no_such_segment();
    if (entry->sealed) {
        // One that was shorter than the end is so still.
        if (end < entry->end)
            co_return fail(Code::kConflict, fmt::format("the segment is sealed at {}", entry->end), entry->end);
        co_return entry->info();
    }
    runtimes_.at(id).closing = true;
    co_await wait_drained(id);  // a write behind the end must not land in what is given back
    CO_TRY_VOID(co_await commit(records::seal(id, std::min(end, meta_.segment(id)->capacity_bytes()))));
    co_return meta_.segment(id)->info();
}

Task<Result<void>> StoreCore::drop_segment(SegmentId id) {
    CO_TRY_VOID(may_change());
    co_return co_await detached(do_drop(id));
}

Task<Result<void>> StoreCore::do_drop(SegmentId id) {
    auto const lock = co_await segment_locks_.lock(id);
    CO_TRY_VOID(may_change());
    if (!meta_.segment(id)) co_return no_such_segment();
    runtimes_.at(id).closing = true;
    co_await wait_drained(id);
    CO_TRY_VOID(co_await commit(records::drop(id)));
    forget_runtime(id);
    co_return Result<void>{};
}

void StoreCore::forget_runtime(SegmentId id) {
    auto const at = runtimes_.find(id);
    CORELET_ASSERT(at != runtimes_.end() && at->second.writes == 0);
    give_back(at->second.reserved_units);
    runtimes_.erase(at);
}

}  // namespace corelet
