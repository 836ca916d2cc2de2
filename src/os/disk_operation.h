// One disk request to the kernel. It owns the buffers and the open file until the kernel is done, whether or not
// anybody still waits: a task that is dropped only leaves the wait list.
#pragma once

#include <sys/uio.h>

#include <memory>

#include "base/bytes.h"
#include "rt/sync.h"

namespace corelet::os {

struct DiskOperation {
    enum class Kind : u8 { kRead, kWrite, kSync, kPunchHole };
    Kind kind = Kind::kRead;
    bool durable = false;  // of kWrite: on media when it completes
    int fd = -1;
    u64 offset = 0;
    u64 size = 0;
    std::vector<iovec> vectors;
    BufferChain buffers;               // what `vectors` points into
    std::shared_ptr<const void> file;  // keeps `fd` open

    // Bytes done or -errno, once finished.
    i64 result = 0;

    void finish(i64 outcome) {
        result = outcome;
        finished_ = true;
        wake_all(waiters_);
    }
    [[nodiscard]] WaitAwaiter wait() { return WaitAwaiter{waiters_, finished_}; }

  private:
    friend class UringReactor;
    bool finished_ = false;
    IntrusiveList<Waiter> waiters_;
    std::shared_ptr<DiskOperation> in_flight_;  // itself, while the kernel holds it
};

// Carries it out on the calling thread: bytes done or -errno.
[[nodiscard]] i64 perform_blocking(const DiskOperation& operation);

}  // namespace corelet::os
