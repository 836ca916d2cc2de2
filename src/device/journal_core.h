// Inside of a Journal: the commit loop, snapshots into the other half. Used by the store that owns it.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "device/device_io.h"
#include "device/journal.h"
#include "device/journal_recovery.h"
#include "device/layout.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace corelet {

class JournalCore {
  public:
    using Record = Journal::Record;
    // Gets each record once, in order, when it is durable and before its waiters run.
    using Listener = std::function<void(u64 number, Bytes record)>;

    JournalCore(DeviceIo& io, const JournalArea& area, Executor& executor);
    // Reads what is there. With `keep`, it stays in memory for Journal::replay(); the visitor is called in any
    // case.
    [[nodiscard]] Task<void> recover(JournalVisitor visitor, bool keep);
    // Before anything else: makes what recover() accepted a promise, and begins to commit. `session` differs at
    // each mount.
    [[nodiscard]] Task<Result<void>> start(u64 session);
    void set_listener(Listener listener) { listener_ = std::move(listener); }

    void replay(const std::function<void(u64, Bytes)>& on_snapshot,
                const std::function<void(u64, Bytes)>& on_record);
    [[nodiscard]] Result<u64> submit(std::vector<Record> records, std::vector<u8> memo = {});
    [[nodiscard]] Task<Result<void>> wait_durable(u64 number);
    [[nodiscard]] Task<Result<u64>> append(std::vector<Record> records, std::vector<u8> memo = {});
    [[nodiscard]] Task<Result<void>> snapshot(u64 through, Record state);
    [[nodiscard]] Task<Result<void>> restart(Record state);

    [[nodiscard]] const JournalReport& report() const { return report_; }
    [[nodiscard]] bool is_rotten() const { return report_.condition == JournalCondition::kRotten; }
    [[nodiscard]] u64 durable_number() const { return durable_; }
    [[nodiscard]] u64 submitted_number() const { return submitted_; }
    [[nodiscard]] bool wants_snapshot() const { return room_left() < area_.half_bytes / 4; }
    [[nodiscard]] u64 record_bytes_max() const {
        return std::min(area_.half_bytes / 4, 1 * k_mib + k_unit_bytes) - k_block_bytes;
    }
    [[nodiscard]] u64 state_bytes_max() const { return area_.half_bytes / 2; }
    [[nodiscard]] bool is_idle() const { return queue_.empty() && !committing_ && !snapshotting_; }
    // Wakes with each batch that became durable, each finished snapshot, and on failure.
    [[nodiscard]] Notify& progress() { return progress_; }

  private:
    struct Kept {
        std::optional<std::pair<u64, Buffer>> state;
        std::vector<std::pair<u64, Record>> records;
    };
    // Room in the active half that nothing waiting has claimed.
    [[nodiscard]] u64 room_left() const;
    [[nodiscard]] std::optional<Error> refusal() const;
    [[nodiscard]] Task<void> commit_loop();
    [[nodiscard]] Task<Result<void>> commit_batch();
    [[nodiscard]] Task<Result<void>> write_ahead(u64 upto);
    [[nodiscard]] Task<Result<void>> write_identifier(BatchIdentifier identifier);
    [[nodiscard]] Task<Result<void>> run_snapshot(u64 through, Record state);
    // The other half while a snapshot is being written into it.
    struct HalfInMaking;
    [[nodiscard]] Task<Result<void>> begin_half(HalfInMaking* making, u64 through, const Record* state);
    [[nodiscard]] Task<Result<void>> find_tail(HalfInMaking* making, u64 through);
    [[nodiscard]] Task<Result<void>> copy_tail(HalfInMaking* making, u64 upto);
    [[nodiscard]] Task<Result<void>> switch_halves(HalfInMaking* making);
    [[nodiscard]] Task<Result<void>> run_restart(Record state);
    [[nodiscard]] u64 batch_bytes_max() const { return std::min(area_.half_bytes / 8, k_batch_bytes_max); }
    [[nodiscard]] u64 worst_cost(u64 payload_bytes) const;

    DeviceIo& io_;
    JournalArea area_;
    JournalReport report_;
    HalfHeader header_;
    u32 half_ = 0;
    u64 write_offset_ = 0;
    u64 ahead_offset_ = 0;  // up to here the active half was written once
    u64 next_batch_ = 1;
    u64 chain_ = 0;
    u64 session_ = 0;
    u64 durable_ = 0;
    u64 submitted_ = 0;
    std::vector<LogPosition> positions_;  // of the active half
    std::optional<BatchIdentifier> recovered_promise_;
    struct Cost {
        u64 last_record = 0;
        u64 bytes = 0;
        std::vector<u8> memo;
    };
    std::deque<Record> queue_;  // records durable_ + 1 .. submitted_ that no batch under way has taken
    std::deque<Cost> costs_;    // of each submission, at worst, until it is durable
    u64 queued_cost_ = 0;       // their sum
    std::vector<u8> memo_;      // the newest one whose records are durable
    u64 switch_offset_ = 0;     // where the log goes on after the switch under way
    bool started_ = false;
    bool committing_ = false;
    bool snapshotting_ = false;
    Kept kept_;
    Listener listener_;
    Mutex commit_mutex_;
    Notify work_;
    Notify progress_;
    Scope scope_;
};

}  // namespace corelet
