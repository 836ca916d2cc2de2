// Log on stderr or in a file of bounded size.
#pragma once

#include <memory>

#include "base/result.h"
#include "rt/log.h"

namespace corelet::os {

struct LogOptions {
    LogLevel level = LogLevel::kInfo;
    std::string path;  // empty: stderr
    // The file is renamed to PATH.1 and so on when it has grown to `bytes_max`; the oldest of `files_max` goes.
    u64 bytes_max = 16 << 20;
    u32 files_max = 4;
};

// One line an event: `2025-01-31T23:59:59.123Z info chunk.repaired text`. Control characters in it are escaped, so
// that what a peer says cannot forge a line. Errors: kIo, when the file cannot be opened.
[[nodiscard]] Result<std::unique_ptr<Log>> make_log(const LogOptions& options = {});

}  // namespace corelet::os
