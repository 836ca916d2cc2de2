// Files and block devices, as a storage engine needs them.
//
// Contract: what was written and not yet durable may survive a crash as any subset of its sectors, in any order,
// torn at 512 B or 4 KiB. A durable write, and all writes before a completed flush, survive whole. Offsets and
// sizes are multiples of 4 KiB (asserted). A failed write or flush says nothing about what is on the media.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "rt/task.h"

namespace corelet {

enum class Durability : u8 {
    kBuffered,  // durable after a later flush
    kDurable,   // durable when the write returns (O_DSYNC / FUA)
};

// Destroying it closes it; operations in flight complete or not, their buffers live until then.
class File {
  public:
    virtual ~File() = default;
    // All `size` bytes, or an error: kIo (device), kInvalid (beyond the end).
    [[nodiscard]] virtual Task<Result<Buffer>> read(u64 offset, usize size) = 0;
    [[nodiscard]] virtual Task<Result<void>> write(u64 offset, BufferChain data, Durability durability) = 0;
    [[nodiscard]] virtual Task<Result<void>> flush() = 0;
    // The range reads as anything afterwards; its space may be given back.
    [[nodiscard]] virtual Task<Result<void>> discard(u64 offset, u64 size) = 0;
    [[nodiscard]] virtual u64 size_bytes() const = 0;
};

struct OpenOptions {
    bool create = false;  // a new file; kExists if there is one
    u64 size_bytes = 0;   // with create: preallocated to this size, kNoSpace if the host disk has not as much
    bool read_only = false;
};

class Disk {
  public:
    virtual ~Disk() = default;
    // Opened files are locked against a second opening by anyone: kConflict. kNotFound if missing.
    [[nodiscard]] virtual Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) = 0;
    [[nodiscard]] virtual Task<Result<void>> remove(std::string path) = 0;
    [[nodiscard]] virtual Task<Result<bool>> exists(std::string path) = 0;
};

}  // namespace corelet
