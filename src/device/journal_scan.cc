#include "device/journal_scan.h"

namespace corelet {

namespace {
constexpr u64 k_window_bytes = 256 * k_kib;
}  // namespace

BatchScanner::BatchScanner(DeviceIo& io, const JournalArea& area, const Start& start)
    : io_(io), area_(area), at_(start) {
    CORELET_ASSERT(start.limit <= area.half_bytes && start.offset <= start.limit && start.half < 2);
}

Task<Result<Buffer>> BatchScanner::fetch(u64 size) {
    CORELET_ASSERT(at_.offset + size <= at_.limit);
    bool const inside =
        !window_.empty() && at_.offset >= window_offset_ && at_.offset + size <= window_offset_ + window_.size();
    if (!inside) {
        u64 const wanted = std::min(std::max(size, k_window_bytes), at_.limit - at_.offset);
        u64 const place = area_.half_offset[at_.half] + at_.offset;
        Result<Buffer> window = co_await io_.read(place, wanted, IoClass::kClient);
        // A bad sector further on is not this batch's.
        if (!window && wanted > size) window = co_await io_.read(place, size, IoClass::kClient);
        if (!window) co_return std::unexpected(std::move(window).error());
        window_ = *std::move(window);
        window_offset_ = at_.offset;
    }
    co_return window_.slice(at_.offset - window_offset_, size);
}

Task<std::optional<ScannedBatch>> BatchScanner::next() {
    saw_remains_ = false;
    if (at_.limit - at_.offset < k_block_bytes) co_return std::nullopt;
    Result<Buffer> const first = co_await fetch(k_block_bytes);
    saw_remains_ = !first.has_value();
    if (!first) co_return std::nullopt;
    std::optional<BatchHeader> const header = peek_batch(*first, area_.key);
    if (!header || header->batch != at_.next_batch) co_return std::nullopt;
    saw_remains_ = true;
    if (header->chain != at_.chain || header->total_bytes() > at_.limit - at_.offset) co_return std::nullopt;
    Result<Buffer> all = co_await fetch(header->total_bytes());
    if (!all) co_return std::nullopt;
    Result<u64> const checksum = verify_batch(*header, *all);
    if (!checksum) co_return std::nullopt;
    ScannedBatch batch{*header, *checksum, at_.offset, *std::move(all)};
    saw_remains_ = false;
    at_.offset += header->total_bytes();
    at_.next_batch += 1;
    at_.chain = *checksum;
    co_return std::move(batch);
}

}  // namespace corelet
