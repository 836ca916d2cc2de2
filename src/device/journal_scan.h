// Reads a journal's batches in order and verifies each against the one before it.
#pragma once

#include "device/device_io.h"
#include "device/journal_format.h"
#include "device/layout.h"

namespace corelet {

struct ScannedBatch {
    BatchHeader header;
    u64 checksum = 0;
    u64 offset = 0;  // within the half
    Buffer bytes;
};

class BatchScanner {
  public:
    // From `offset` of half `half`, where batch `next_batch` should lie, following `chain`; up to `limit` (within
    // the half).
    struct Start {
        u32 half = 0;
        u64 offset = 0;
        u64 limit = 0;
        u64 next_batch = 0;
        u64 chain = 0;
    };
    BatchScanner(DeviceIo& io, const JournalArea& area, const Start& start);

    // The next batch; nothing where the chain ends, be it that nothing was written there, that what was does not
    // verify, or that the device does not read it.
    [[nodiscard]] Task<std::optional<ScannedBatch>> next();
    [[nodiscard]] u64 offset() const { return at_.offset; }
    [[nodiscard]] u64 next_batch() const { return at_.next_batch; }
    [[nodiscard]] u64 chain() const { return at_.chain; }
    // Where the chain ended lies something of the expected batch, or something unreadable: it was torn, or has
    // rotted.
    [[nodiscard]] bool saw_remains() const { return saw_remains_; }

  private:
    // `size` bytes from at_.offset; from the window if they are in it.
    [[nodiscard]] Task<Result<Buffer>> fetch(u64 size);
    DeviceIo& io_;
    const JournalArea& area_;
    Start at_;
    Buffer window_;
    u64 window_offset_ = 0;
    bool saw_remains_ = false;
};

}  // namespace corelet
