// Snapshots: the other half gets the state and a copy of the batches after it, and counts once its header is
// durable.
#include "device/journal_core.h"
#include "device/journal_scan.h"

namespace corelet {

struct JournalCore::HalfInMaking {
    u32 half = 0;
    HalfHeader header;
    u64 write_offset = 0;
    std::vector<LogPosition> positions;
    // Up to where the active half's batches were copied.
    u64 copied_offset = 0;
    u64 copied_batch = 0;  // number of the next one to copy
    u64 copied_chain = 0;
};

Task<Result<void>> JournalCore::run_snapshot(u64 through, Record state) {
    HalfInMaking making;
    making.half = 1 - half_;
    making.header.generation = header_.generation + 1;
    Result<void> done = co_await find_tail(&making, through);
    if (done) done = co_await begin_half(&making, through, &state);
    // Most of the tail while appends go on; the rest, which is short, between two batches.
    if (done) done = co_await copy_tail(&making, write_offset_);
    if (done) done = co_await switch_halves(&making);
    snapshotting_ = false;
    progress_.notify_all();
    co_return done;
}

// The first batch that holds a record after `through`.
Task<Result<void>> JournalCore::find_tail(HalfInMaking* making, u64 through) {
    making->copied_offset = write_offset_;
    making->copied_batch = next_batch_;
    making->copied_chain = chain_;
    if (through < durable_) {
        auto const after = std::ranges::upper_bound(positions_, through + 1, {}, &LogPosition::first_record);
        CORELET_ASSERT(after != positions_.begin());
        LogPosition const at = *std::prev(after);  // a copy: appends go on meanwhile
        Result<Buffer> const block =
            co_await io_.read(area_.half_offset[half_] + at.offset, k_block_bytes, IoClass::kClient);
        if (!block) co_return std::unexpected(block.error());
        std::optional<BatchHeader> const first = peek_batch(*block, area_.key);
        if (!first || first->first_record != at.first_record)
            co_return fail(Code::kCorrupt, "a batch of the journal does not read back");
        making->copied_offset = at.offset;
        making->copied_batch = first->batch;
        making->copied_chain = first->chain;
    }
    making->header.next_batch = making->copied_batch;
    making->header.chain = making->copied_chain;
    co_return Result<void>{};
}

Task<Result<void>> JournalCore::begin_half(HalfInMaking* making, u64 through, const Record* state) {
    making->header.through = through;
    making->header.state_bytes = state->size();
    making->header.state_checksum = state_checksum(*state, area_.key);
    making->header.key = area_.key;
    making->write_offset = making->header.log_offset();
    CORELET_ASSERT(making->write_offset <= area_.half_bytes);
    static constexpr u64 k_piece = 1 * k_mib;
    for (u64 at = 0; at < state->size(); at += k_piece) {
        u64 const size = std::min<u64>(k_piece, state->size() - at);
        Buffer piece = Buffer::zeroed(round_up(size, k_block_bytes));
        std::memcpy(piece.mutable_data(), state->data() + at, size);
        CO_TRY_VOID(co_await io_.write_journal(area_.half_offset[making->half] + k_block_bytes + at,
                                               std::move(piece), Durability::kBuffered));
    }
    co_return Result<void>{};
}

// Each batch is verified on the way: what has rotted meanwhile must not be given a new header.
Task<Result<void>> JournalCore::copy_tail(HalfInMaking* making, u64 upto) {
    BatchScanner::Start start;
    start.half = half_;
    start.offset = making->copied_offset;
    start.limit = upto;
    start.next_batch = making->copied_batch;
    start.chain = making->copied_chain;
    BatchScanner scanner(io_, area_, start);
    while (scanner.offset() < upto) {
        std::optional<ScannedBatch> batch = co_await scanner.next();
        if (!batch) co_return fail(Code::kCorrupt, "a batch of the journal does not read back");
        u64 const size = batch->bytes.size();
        if (making->write_offset + size > area_.half_bytes)
            co_return fail(Code::kNoSpace, "what the snapshot does not cover is too long for the journal");
        CO_TRY_VOID(co_await io_.write_journal(area_.half_offset[making->half] + making->write_offset,
                                               std::move(batch->bytes), Durability::kBuffered));
        making->positions.push_back({batch->header.first_record, making->write_offset});
        making->write_offset += size;
    }
    making->copied_offset = scanner.offset();
    making->copied_batch = scanner.next_batch();
    making->copied_chain = scanner.chain();
    co_return Result<void>{};
}

Task<Result<void>> JournalCore::switch_halves(HalfInMaking* making) {
    // The bulk is made durable before appends have to wait.
    CO_TRY_VOID(co_await io_.flush());
    Permit const lock = co_await commit_mutex_.lock();
    if (io_.is_failing()) co_return std::unexpected(io_.failing_error());
    CO_TRY_VOID(co_await copy_tail(making, write_offset_));
    CORELET_ASSERT(making->copied_batch == next_batch_ && making->copied_chain == chain_);
    if (making->write_offset + queued_cost_ > area_.half_bytes)
        co_return fail(Code::kNoSpace, "what the snapshot does not cover is too long for the journal");
    switch_offset_ = making->write_offset;  // from here on nobody claims room that the new half has not
    Result<void> done = co_await io_.flush();
    if (done)
        done = co_await io_.write_journal(area_.half_offset[making->half], encode_half_header(making->header),
                                          Durability::kDurable);
    switch_offset_ = 0;
    if (!done) co_return done;
    half_ = making->half;
    header_ = making->header;
    write_offset_ = ahead_offset_ = making->write_offset;
    positions_ = std::move(making->positions);
    co_return Result<void>{};
}

// Nothing of what was is kept but the numbers: the new ones lie above all that may ever have been promised, and the
// batch before the first one is none that an identifier names.
Task<Result<void>> JournalCore::run_restart(Record state) {
    Permit const lock = co_await commit_mutex_.lock();
    HalfInMaking making;
    making.half = header_.generation == 0 ? 0 : 1 - half_;
    making.header.generation = header_.generation + 1;
    u64 const promised_batch = recovered_promise_ ? recovered_promise_->batch : 0;
    u64 const through = std::max(report_.promised, durable_);
    making.header.next_batch = std::max(promised_batch, next_batch_) + 2;
    making.header.chain = session_;
    Result<void> done = co_await begin_half(&making, through, &state);
    if (done) done = co_await io_.flush();
    if (done)
        done = co_await io_.write_journal(area_.half_offset[making.half], encode_half_header(making.header),
                                          Durability::kDurable);
    if (done) {
        half_ = making.half;
        header_ = making.header;
        write_offset_ = ahead_offset_ = making.write_offset;
        next_batch_ = header_.next_batch;
        chain_ = header_.chain;
        durable_ = submitted_ = through;
        positions_.clear();
        kept_ = {};
        memo_.clear();
        report_ = {JournalCondition::kClean, through, through, 0, {}, {}};
    }
    snapshotting_ = false;
    progress_.notify_all();
    co_return done;
}

}  // namespace corelet
