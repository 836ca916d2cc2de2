// Log segments, the hot half: writing and reading raw bytes under the fence.
#include <fmt/format.h>

#include "device/store_core.h"

namespace corelet {

namespace {

// Whether [offset, offset + length) are whole blocks within `limit`.
Result<void> check_range(u64 offset, u64 length, u64 limit) {
    bool const aligned = offset % k_block_bytes == 0 && length % k_block_bytes == 0 && length > 0;
    if (aligned && offset <= limit && length <= limit - offset) return {};
    return fail(Code::kInvalid, fmt::format("bytes {}+{} of a segment of {}", offset, length, limit));
}
}  // namespace

// Only who opened it may write, and only until anybody with a newer epoch has shown himself here.
Result<void> StoreCore::check_writer(const SegmentEntry& entry, const SegmentRuntime& runtime, Epoch epoch,
                                     CoreletId owner) {
    Epoch const newest = std::max(entry.epoch, runtime.fencing);
    if (epoch != entry.opened_epoch || newest != entry.opened_epoch || owner != entry.owner) {
        ++io_.telemetry().fenced_writes;
        return fail(Code::kFenced, fmt::format("segment {} is at epoch {}", to_string(entry.id), newest.v),
                    newest.v);
    }
    if (entry.sealed || runtime.closing) return fail(Code::kClosed, "the segment is sealed");
    return {};
}

Task<Result<void>> StoreCore::write_segment(SegmentId id, Epoch epoch, CoreletId owner, u64 offset,
                                            BufferChain data) {
    CO_TRY_VOID(may_change());
    const SegmentEntry* const entry = meta_.segment(id);
    if (!entry) co_return no_such_segment();
    SegmentRuntime& runtime = runtimes_.at(id);
    CO_TRY_VOID(check_writer(*entry, runtime, epoch, owner));
    CO_TRY_VOID(check_range(offset, data.size(), entry->capacity_bytes()));
    ++runtime.writes;  // from here on a fence, a seal or a drop waits for it
    std::vector<DevicePiece> pieces = pieces_of(entry->extents, offset, data.size());
    co_return co_await detached(do_write(id, epoch, std::move(pieces), std::move(data)));
}

Task<Result<void>> StoreCore::do_write(SegmentId id, Epoch epoch, std::vector<DevicePiece> pieces,
                                       BufferChain data) {
    Result<void> const done = co_await write_pieces(std::move(pieces), std::move(data), IoClass::kClient);
    SegmentRuntime& runtime = runtimes_.at(id);
    CORELET_ASSERT(runtime.writes > 0);
    if (--runtime.writes == 0) runtime.drained.notify_all();
    if (!done) co_return done;
    CO_TRY_VOID(may_answer());
    // A newer epoch came while it was under way: its owner may have been told so already.
    const SegmentEntry* const entry = meta_.segment(id);
    CORELET_ASSERT(entry, "a segment outlives its writes");
    Epoch const newest = std::max(entry->epoch, runtime.fencing);
    if (newest != epoch) {
        ++io_.telemetry().fenced_writes;
        co_return fail(Code::kFenced, "fenced while it was being written", newest.v);
    }
    co_return Result<void>{};
}

Task<Result<BufferChain>> StoreCore::read_segment(SegmentId id, u64 offset, u64 length, IoClass io) {
    CO_TRY_VOID(may_answer());
    const SegmentEntry* const entry = meta_.segment(id);
    if (!entry) co_return no_such_segment();
    CO_TRY_VOID(check_range(offset, length, entry->capacity_bytes()));
    UnitExtent const first = entry->extents.front();
    Result<BufferChain> data = co_await read_pieces(pieces_of(entry->extents, offset, length), io);
    // Dropped meanwhile, its place may be another's.
    const SegmentEntry* const now = meta_.segment(id);
    if (!now || now->extents.front().start != first.start || offset + length > now->capacity_bytes())
        co_return no_such_segment();
    CO_TRY_VOID(may_answer());
    co_return data;
}

Task<void> StoreCore::wait_drained(SegmentId id) {
    SegmentRuntime& runtime = runtimes_.at(id);
    while (runtime.writes > 0) co_await runtime.drained.wait();
}

}  // namespace corelet
