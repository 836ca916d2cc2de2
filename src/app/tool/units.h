// Sizes and durations as people type and read them. Binary units, integer arithmetic.
#pragma once

#include "base/result.h"
#include "base/time.h"

namespace corelet::app {

// "4096", "512M", "8G", "1.5T"; the unit may be spelt "GiB" too. kInvalid, also when it does not fit 64 bits.
[[nodiscard]] Result<u64> parse_size(std::string_view text);
// "8 GiB", "1.5 GiB", "312 B": rounded down to a tenth.
[[nodiscard]] std::string format_size(u64 bytes);
// "500ms", "5s", "10min", "2h"; a bare number means seconds.
[[nodiscard]] Result<Duration> parse_duration(std::string_view text);
// "3.2 s", "1 min 20 s", "2 h 5 min".
[[nodiscard]] std::string format_duration(Duration duration);
// "2026-03-01 14:05 UTC": of seconds since 1970.
[[nodiscard]] std::string format_time(i64 unix_seconds);

}  // namespace corelet::app
