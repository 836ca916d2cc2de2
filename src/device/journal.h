// A small durable log: group commit, snapshots in two halves used in turn, and for each batch an identifier in a
// second, physically separate place, by which a torn tail is told from rot (protocols 10.3; Alagappan et al., FAST
// 2018).
//
// Records are bytes, numbered from 1 without gaps. What is durable has this order for ever. A batch is durable,
// then its identifier, and only then the waiters hear of it. Bytes on the device: docs/format/journal.md.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "device/journal_format.h"
#include "rt/scope.h"
#include "rt/task.h"

namespace corelet {

enum class JournalCondition : u8 {
    kClean,
    kTorn,    // an unfinished batch at the end was cut: nobody was told of it
    kRotten,  // something that was promised no longer reads back
};
struct JournalReport {
    JournalCondition condition = JournalCondition::kClean;
    u64 record = 0;         // the last record that is readable
    u64 promised = 0;       // the last record that is known to have been durable
    u64 device_offset = 0;  // of what was cut or is bad
    std::string what;       // for people; empty when clean
    std::vector<u8> memo;   // the owner's, as of `promised` (see submit); empty if it is not known
};

class JournalCore;

class Journal {
  public:
    using Record = std::vector<u8>;

    ~Journal();
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    // What the mount found, once: the newest snapshot (if any), then the records after it. The memory is given back
    // afterwards. A rotten journal replays what lies before the rot.
    void replay(const std::function<void(u64 through, Bytes state)>& on_snapshot,
                const std::function<void(u64 number, Bytes record)>& on_record);

    // Takes the records in the order of the calls and returns the number of the last one; they become durable in
    // the background. kOverloaded: too much is waiting. kNoSpace: full until a snapshot. kIo: the device is
    // failing. kForgotten: rotten. kInvalid: a record above record_bytes_max().
    // `memo` (at most k_journal_memo_bytes_max) goes into the identifier, so it tells what was promised even where
    // the records that promised it have rotted: report().memo is the newest one promised.
    [[nodiscard]] Result<u64> submit(std::vector<Record> records, std::vector<u8> memo = {});
    // Returns when record `number` is durable, or with the error that keeps it from ever being.
    [[nodiscard]] Task<Result<void>> wait_durable(u64 number);
    // Both. If dropped, the records may or may not become durable.
    [[nodiscard]] Task<Result<u64>> append(std::vector<Record> records, std::vector<u8> memo = {});

    // Replaces all records up to `through` (at most durable_number()) by `state`; those after it stay. Appends go
    // on meanwhile. One at a time (kConflict). kNoSpace if the state is above state_bytes_max().
    [[nodiscard]] Task<Result<void>> snapshot(u64 through, Record state);
    // For a rotten journal whose content was had from elsewhere: starts anew from `state`, with numbers above all
    // ever promised; it is not rotten afterwards.
    [[nodiscard]] Task<Result<void>> restart(Record state);

    [[nodiscard]] const JournalReport& report() const;
    [[nodiscard]] bool is_rotten() const;
    [[nodiscard]] u64 durable_number() const;
    [[nodiscard]] u64 submitted_number() const;
    // Little room is left: time for a snapshot.
    [[nodiscard]] bool wants_snapshot() const;
    [[nodiscard]] u64 record_bytes_max() const;
    [[nodiscard]] u64 state_bytes_max() const;

    // For the store that owns it (device/journal_core.h).
    explicit Journal(std::unique_ptr<JournalCore> core);
    [[nodiscard]] JournalCore& core() { return *core_; }

  private:
    std::unique_ptr<JournalCore> core_;
};

}  // namespace corelet
