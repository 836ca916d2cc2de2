// The kernel's errno as an Error: the code by which a program reacts, and a message that says what was being done.
#pragma once

#include "base/result.h"

namespace corelet::os {

// For everything but disk I/O and live streams, which have rules of their own below.
[[nodiscard]] Error error_from(int error_number, std::string_view doing);
// Reads, writes and flushes of a device: kNoSpace, else kIo; both are final for the device.
[[nodiscard]] Error disk_error(int error_number, std::string_view doing);
// A connection that lived: whatever ended it out of order is kReset.
[[nodiscard]] Error stream_error(int error_number, std::string_view doing);
[[nodiscard]] std::string error_text(int error_number);

[[nodiscard]] inline std::unexpected<Error> fail_errno(int error_number, std::string_view doing) {
    return std::unexpected(error_from(error_number, doing));
}

}  // namespace corelet::os
