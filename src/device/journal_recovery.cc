#include "device/journal_recovery.h"

#include <fmt/format.h>

#include "device/journal_scan.h"

namespace corelet {

namespace {

Task<std::optional<HalfHeader>> read_half_header(DeviceIo* io, const JournalArea* area, u32 half) {
    Result<Buffer> const block = co_await io->read(area->half_offset[half], k_block_bytes, IoClass::kClient);
    if (!block) co_return std::nullopt;
    std::optional<HalfHeader> header = decode_half_header(*block, area->key);
    if (header && header->log_offset() > area->half_bytes) header.reset();
    co_return header;
}

Task<std::optional<BatchIdentifier>> read_promised(DeviceIo* io, const JournalArea* area) {
    std::optional<BatchIdentifier> best;
    for (u32 slot = 0; slot < k_ring_slots; ++slot) {
        u64 const place = area->ring_offset + slot * k_block_bytes;
        Result<Buffer> const block = co_await io->read(place, k_block_bytes, IoClass::kClient);
        if (!block) continue;
        std::optional<BatchIdentifier> const found = decode_identifier(*block, area->key);
        // In another slot than its own it was misdirected there: what it says is still true.
        if (found && (!best || found->batch > best->batch)) best = found;
    }
    co_return best;
}

void call_rotten(JournalRecovery* r, u64 device_offset, std::string what) {
    r->report.condition = JournalCondition::kRotten;
    r->report.device_offset = device_offset;
    r->report.what = std::move(what);
}

// Reads the state in pieces into one buffer; nothing if it does not read or verify.
Task<std::optional<Buffer>> read_state(DeviceIo* io, const JournalArea* area, const JournalRecovery* r) {
    u64 const padded = r->header.log_offset() - k_block_bytes;
    Buffer state = Buffer::allocate(padded);
    static constexpr u64 k_piece = 1 * k_mib;
    for (u64 at = 0; at < padded; at += k_piece) {
        u64 const size = std::min(k_piece, padded - at);
        Result<Buffer> const piece =
            co_await io->read(area->half_offset[r->half] + k_block_bytes + at, size, IoClass::kClient);
        if (!piece) co_return std::nullopt;
        std::memcpy(state.mutable_data() + at, piece->data(), size);
    }
    Buffer exact = state.slice(0, r->header.state_bytes);
    if (state_checksum(exact, area->key) != r->header.state_checksum) co_return std::nullopt;
    co_return exact;
}

// Follows the chain. Says what is wrong if a promise was not kept, else nothing.
Task<std::string> replay_batches(DeviceIo* io, const JournalArea* area, JournalRecovery* r,
                                 const JournalVisitor* visitor) {
    BatchScanner::Start start;
    start.half = r->half;
    start.offset = r->header.log_offset();
    start.limit = area->half_bytes;
    start.next_batch = r->header.next_batch;
    start.chain = r->header.chain;
    BatchScanner scanner(*io, *area, start);
    bool promise_kept =
        !r->promised || r->promised->batch < r->header.next_batch - 1 ||
        (r->promised->batch == r->header.next_batch - 1 && r->promised->checksum == r->header.chain);
    for (;;) {
        std::optional<ScannedBatch> const batch = co_await scanner.next();
        if (!batch) break;
        if (r->promised && batch->header.batch == r->promised->batch)
            promise_kept = batch->checksum == r->promised->checksum;
        if (batch->header.first_record > r->last_record + 1)
            co_return fmt::format("batch {} leaves a gap in the records", batch->header.batch);
        r->positions.push_back({batch->header.first_record, batch->offset});
        for_each_record(batch->header, batch->bytes, [&](u64 number, Bytes record) {
            if (number > r->last_record) visitor->on_record(number, record);
        });
        r->last_record = std::max(r->last_record, batch->header.last_record());
    }
    r->write_offset = scanner.offset();
    r->next_batch = scanner.next_batch();
    r->chain = scanner.chain();
    if (scanner.saw_remains()) {
        r->report.condition = JournalCondition::kTorn;
        r->report.what = fmt::format("batch {} was not finished; cut", r->next_batch);
    }
    if (r->promised && r->promised->batch >= r->next_batch)
        co_return fmt::format("batch {} does not verify, but batch {} was promised", r->next_batch,
                              r->promised->batch);
    if (!promise_kept) co_return fmt::format("batch {} is not the one that was promised", r->promised->batch);
    co_return std::string{};
}

}  // namespace

Task<JournalRecovery> recover_journal(DeviceIo* io, JournalArea area, JournalVisitor visitor) {
    JournalRecovery r;
    r.promised = co_await read_promised(io, &area);
    r.report.promised = r.promised ? r.promised->last_record : 0;
    if (r.promised) r.report.memo = r.promised->memo;
    for (u32 half = 0; half < 2; ++half) {
        std::optional<HalfHeader> const header = co_await read_half_header(io, &area, half);
        if (!header || header->generation <= r.header.generation) continue;
        r.header = *header;
        r.half = half;
    }
    if (r.header.generation == 0) {
        call_rotten(&r, area.half_offset[0], "neither half has a good header");
        co_return r;
    }
    std::optional<Buffer> const state = co_await read_state(io, &area, &r);
    if (!state) {
        call_rotten(&r, area.half_offset[r.half] + k_block_bytes, "the snapshot does not verify");
        co_return r;
    }
    r.last_record = r.header.through;
    r.report.promised = std::max(r.report.promised, r.header.through);
    visitor.on_state(r.header.through, *state);
    std::string rot = co_await replay_batches(io, &area, &r, &visitor);
    r.report.record = r.last_record;
    r.report.device_offset = area.half_offset[r.half] + r.write_offset;
    if (!rot.empty()) call_rotten(&r, r.report.device_offset, std::move(rot));
    co_return r;
}

Task<Result<void>> format_journal(DeviceIo* io, JournalArea area) {
    HalfHeader header;
    header.generation = 1;
    header.next_batch = 1;
    header.state_checksum = state_checksum({}, area.key);
    header.key = area.key;
    Buffer const zeros = Buffer::zeroed(k_block_bytes);
    CO_TRY_VOID(co_await io->write_journal(area.half_offset[1], zeros, Durability::kBuffered));
    CO_TRY_VOID(co_await io->write_journal(area.ring_offset, Buffer::zeroed(k_ring_slots * k_block_bytes),
                                           Durability::kBuffered));
    CO_TRY_VOID(co_await io->write_journal(area.half_offset[0], encode_half_header(header), Durability::kBuffered));
    co_return co_await io->flush();
}

}  // namespace corelet
