#include "device/journal_core.h"

#include "device/detached.h"

namespace corelet {

namespace {
// Beyond this, submit() says kOverloaded: the device does not keep up.
constexpr usize k_queued_records_max = 64 * 1024;
}  // namespace

JournalCore::JournalCore(DeviceIo& io, const JournalArea& area, Executor& executor)
    : io_(io), area_(area), scope_(executor) {
    CORELET_ASSERT(area.half_bytes % k_block_bytes == 0 && area.key != 0);
}

Task<void> JournalCore::recover(JournalVisitor visitor, bool keep) {
    JournalVisitor keeper;
    keeper.on_state = [this, &visitor, keep](u64 through, Bytes state) {
        if (keep && through != 0) kept_.state.emplace(through, Buffer::copy_of(state));
        if (visitor.on_state) visitor.on_state(through, state);
    };
    keeper.on_record = [this, &visitor, keep](u64 number, Bytes record) {
        if (keep) kept_.records.emplace_back(number, Record(record.begin(), record.end()));
        if (visitor.on_record) visitor.on_record(number, record);
    };
    JournalRecovery found = co_await recover_journal(&io_, area_, std::move(keeper));
    report_ = std::move(found.report);
    header_ = found.header;
    half_ = found.half;
    write_offset_ = found.write_offset;
    next_batch_ = found.next_batch;
    chain_ = found.chain;
    durable_ = submitted_ = found.last_record;
    positions_ = std::move(found.positions);
    recovered_promise_ = found.promised;
    if (found.promised && found.promised->batch + 1 == next_batch_) memo_ = found.promised->memo;
}

Task<Result<void>> JournalCore::start(u64 session) {
    CORELET_ASSERT(!started_);
    session_ = session;
    started_ = true;
    // A good batch without its identifier was durable but not promised; what was replayed from it will be relied
    // upon.
    bool const promised = recovered_promise_ && recovered_promise_->batch >= next_batch_ - 1;
    if (!is_rotten() && next_batch_ > 1 && !promised) {
        // Its memo is lost; that of an older batch would say too little.
        BatchIdentifier const last{next_batch_ - 1, chain_, durable_, area_.key, {}};
        CO_TRY_VOID(co_await write_identifier(last));
    }
    scope_.spawn(commit_loop());
    co_return Result<void>{};
}

void JournalCore::replay(const std::function<void(u64, Bytes)>& on_snapshot,
                         const std::function<void(u64, Bytes)>& on_record) {
    Kept const kept = std::exchange(kept_, {});
    if (kept.state) on_snapshot(kept.state->first, kept.state->second);
    for (const auto& [number, record] : kept.records) on_record(number, record);
}

u64 JournalCore::worst_cost(u64 payload_bytes) const {
    // Of two batches in a row the first is more than full without the second's first record, so at most this many.
    u64 const batches = 2 * payload_bytes / batch_bytes_max() + 1;
    return payload_bytes + batches * (k_batch_header_bytes + k_block_bytes);
}

u64 JournalCore::room_left() const {
    u64 const taken = std::max(write_offset_, switch_offset_) + queued_cost_;
    return taken >= area_.half_bytes ? 0 : area_.half_bytes - taken;
}

std::optional<Error> JournalCore::refusal() const {
    if (io_.is_failing()) return io_.failing_error();
    if (is_rotten()) return Error{Code::kForgotten, false, 0, "the journal has rotted: " + report_.what};
    return std::nullopt;
}

Result<u64> JournalCore::submit(std::vector<Record> records, std::vector<u8> memo) {
    CORELET_ASSERT(started_ && !records.empty() && memo.size() <= k_journal_memo_bytes_max);
    if (std::optional<Error> error = refusal()) return std::unexpected(*std::move(error));
    u64 payload = 0;
    for (const Record& record : records) {
        if (record.size() > record_bytes_max())
            return fail(Code::kInvalid, "a record is too large for the journal");
        payload += record_cost(record.size());
    }
    if (queue_.size() + records.size() > k_queued_records_max)
        return fail(Code::kOverloaded, "the journal's queue is full");
    u64 const cost = worst_cost(payload);
    if (cost > room_left()) return fail(Code::kNoSpace, "the journal is full until a snapshot");
    for (Record& record : records) queue_.push_back(std::move(record));
    submitted_ += records.size();
    costs_.push_back({submitted_, cost, std::move(memo)});
    queued_cost_ += cost;
    work_.notify_one();
    return submitted_;
}

Task<Result<void>> JournalCore::wait_durable(u64 number) {
    CORELET_ASSERT(number <= submitted_);
    while (durable_ < number) {
        if (std::optional<Error> error = refusal()) co_return std::unexpected(*std::move(error));
        co_await progress_.wait();
    }
    co_return Result<void>{};
}

Task<Result<u64>> JournalCore::append(std::vector<Record> records, std::vector<u8> memo) {
    CO_TRY(u64 const number, submit(std::move(records), std::move(memo)));
    CO_TRY_VOID(co_await wait_durable(number));
    co_return number;
}

Task<void> JournalCore::commit_loop() {
    while (!io_.is_failing()) {
        if (queue_.empty()) {
            co_await work_.wait();
            continue;
        }
        Permit const lock = co_await commit_mutex_.lock();
        committing_ = true;
        Result<void> const done = co_await commit_batch();
        committing_ = false;
        progress_.notify_all();
    }
    progress_.notify_all();
}

// One batch: durable, then its identifier, then whoever waits.
Task<Result<void>> JournalCore::commit_batch() {
    std::vector<Record> records;
    u64 bytes = k_batch_header_bytes;
    while (!queue_.empty() &&
           (records.empty() || bytes + record_cost(queue_.front().size()) <= batch_bytes_max())) {
        bytes += record_cost(queue_.front().size());
        records.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    CORELET_ASSERT(!records.empty());
    BatchHeader header;
    header.batch = next_batch_;
    header.first_record = durable_ + 1;
    header.chain = chain_;
    header.key = area_.key;
    header.session = session_;
    EncodedBatch batch = encode_batch(header, records);
    u64 const size = batch.bytes.size();
    CORELET_ASSERT(write_offset_ + size <= area_.half_bytes, "room was claimed at submission");
    CO_TRY_VOID(co_await write_ahead(write_offset_ + size));
    CO_TRY_VOID(co_await io_.write_journal(area_.half_offset[half_] + write_offset_, std::move(batch.bytes),
                                           Durability::kDurable));
    u64 const last = durable_ + records.size();
    for (const Cost& cost : costs_) {
        if (cost.last_record > last) break;
        if (!cost.memo.empty()) memo_ = cost.memo;
    }
    CO_TRY_VOID(co_await write_identifier({next_batch_, batch.checksum, last, area_.key, memo_}));
    positions_.push_back({durable_ + 1, write_offset_});
    write_offset_ += size;
    next_batch_ += 1;
    chain_ = batch.checksum;
    while (!costs_.empty() && costs_.front().last_record <= last) {
        queued_cost_ -= costs_.front().bytes;
        costs_.pop_front();
    }
    for (const Record& record : records) {
        ++durable_;
        if (listener_) listener_(durable_, record);
    }
    CORELET_ASSERT(durable_ == last);
    co_return Result<void>{};
}

// The first pass over a half would meet space that a file system has preallocated and never written, and each
// durable write there is two. Zeros go ahead of the log, durably, so that none of them ever comes after a batch.
Task<Result<void>> JournalCore::write_ahead(u64 upto) {
    static constexpr u64 k_ahead_bytes = 256 * k_kib;
    bool const first_pass = header_.generation <= 2;
    if (!first_pass || upto <= ahead_offset_) co_return Result<void>{};
    u64 const from = write_offset_;
    u64 const to = std::min(area_.half_bytes, upto + k_ahead_bytes);
    CO_TRY_VOID(co_await io_.write_journal(area_.half_offset[half_] + from, Buffer::zeroed(to - from),
                                           Durability::kDurable));
    ahead_offset_ = to;
    co_return Result<void>{};
}

Task<Result<void>> JournalCore::write_identifier(BatchIdentifier identifier) {
    u64 const slot = identifier.batch % k_ring_slots;
    co_return co_await io_.write_journal(area_.ring_offset + slot * k_block_bytes, encode_identifier(identifier),
                                         Durability::kDurable);
}

Task<Result<void>> JournalCore::snapshot(u64 through, Record state) {
    if (std::optional<Error> error = refusal()) co_return std::unexpected(*std::move(error));
    if (snapshotting_) co_return fail(Code::kConflict, "a snapshot is under way");
    if (through > durable_ || through < header_.through)
        co_return fail(Code::kInvalid, "a snapshot covers what is durable, and never less than the one before");
    if (state.size() > state_bytes_max()) co_return fail(Code::kNoSpace, "the state is too large for the journal");
    snapshotting_ = true;
    co_return co_await run_detached(&scope_, run_snapshot(through, std::move(state)));
}

Task<Result<void>> JournalCore::restart(Record state) {
    if (io_.is_failing()) co_return std::unexpected(io_.failing_error());
    CORELET_ASSERT(started_);
    if (snapshotting_ || !queue_.empty()) co_return fail(Code::kConflict, "the journal is busy");
    if (state.size() > state_bytes_max()) co_return fail(Code::kNoSpace, "the state is too large for the journal");
    snapshotting_ = true;
    co_return co_await run_detached(&scope_, run_restart(std::move(state)));
}

}  // namespace corelet
