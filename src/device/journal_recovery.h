// What a mount finds of a journal, and what it makes of it (protocols 10.3):
//   batch good                                  it counts, identifier or not (it was durable, perhaps not
//   acknowledged) batch bad, identifier of it or later stands it was promised and has rotted: kRotten both bad it
//   never was acknowledged: cut
// The snapshot and the half's header were durable before any batch after them, so damage there is rot.
#pragma once

#include <functional>
#include <vector>

#include "device/device_io.h"
#include "device/journal.h"
#include "device/journal_format.h"
#include "device/layout.h"

namespace corelet {

// Where a batch of the active half begins.
struct LogPosition {
    u64 first_record = 0;
    u64 offset = 0;
};

struct JournalRecovery {
    JournalReport report;
    HalfHeader header;  // of the active half; generation 0 if there is none
    u32 half = 0;
    u64 write_offset = 0;
    u64 next_batch = 1;
    u64 chain = 0;
    u64 last_record = 0;
    u64 last_checksum = 0;
    std::optional<BatchIdentifier> promised;  // the highest identifier that stands
    std::vector<LogPosition> positions;
};

struct JournalVisitor {
    std::function<void(u64 through, Bytes state)> on_state;
    std::function<void(u64 number, Bytes record)> on_record;
};

// Only reads. Visits what is good, in order, also of a rotten journal (up to the rot).
[[nodiscard]] Task<JournalRecovery> recover_journal(DeviceIo* io, JournalArea area, JournalVisitor visitor);

// Writes an empty journal: for formatting. Durable on return.
[[nodiscard]] Task<Result<void>> format_journal(DeviceIo* io, JournalArea area);

}  // namespace corelet
