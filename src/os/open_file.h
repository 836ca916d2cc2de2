// Opening, locking and sizing files and block devices. Blocking calls: for worker threads.
#pragma once

#include <functional>

#include "os/descriptor.h"
#include "rt/disk.h"

namespace corelet::os {

// Locked (flock) against a second opening for as long as it lives.
struct OpenFile {
    OpenFile() = default;
    OpenFile(const OpenFile&) = delete;
    OpenFile& operator=(const OpenFile&) = delete;
    ~OpenFile();
    Descriptor descriptor;
    std::string path;
    u64 size_bytes = 0;  // whole 4 KiB blocks
    bool is_block_device = false;
    bool is_direct = false;  // O_DIRECT: memory must be aligned
    std::move_only_function<void()> on_closed;
};

// Errors: see Disk::open. A creation that fails leaves no file behind.
[[nodiscard]] Result<std::shared_ptr<OpenFile>> open_file(const std::string& path, const OpenOptions& options);
// Removes the name durably.
[[nodiscard]] Result<void> remove_file(const std::string& path);
[[nodiscard]] Result<bool> file_exists(const std::string& path);
// Tells a block device that a range is of no use.
[[nodiscard]] Result<void> discard_on_device(const OpenFile& file, u64 offset, u64 size);

}  // namespace corelet::os
