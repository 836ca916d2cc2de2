// The transmission phase of NBD without I/O: decoding a request, judging whether it may be served, and encoding
// replies.
#pragma once

#include <span>

#include "base/result.h"
#include "gateway/nbd/negotiation.h"
#include "gateway/nbd/protocol.h"

namespace corelet::nbd {

struct Request {
    u16 flags = 0;
    Command command = Command::kRead;  // as sent: may be none of the known
    u64 cookie = 0;
    u64 offset = 0;
    u32 length = 0;

    [[nodiscard]] bool has(u16 flag) const { return (flags & flag) != 0; }
    [[nodiscard]] u64 end() const { return offset + length; }
};
// From k_request_bytes bytes. False: they do not begin with the request magic, so the stream is out of step.
[[nodiscard]] bool decode_request(const u8* bytes, Request& request);

// An overlong write is read to its end and refused up to this payload; beyond it the session is closed.
inline constexpr u32 k_discard_bytes_max = 2 * k_block_maximum;

enum class Verdict : u8 {
    kServe,
    kRefuse,      // answer `error`, after discarding the payload if the request carries one
    kDisconnect,  // the client's orderly end
    kClose,       // beyond repair
};
struct Admission {
    Verdict verdict = Verdict::kServe;
    ErrorNumber error = ErrorNumber::kNone;
    const char* reason = "";  // for people
};
[[nodiscard]] Admission admit(const Request& request, const ExportInfo& info, const Terms& terms);

// What a failure of the device looks like to the client.
[[nodiscard]] ErrorNumber error_number(Code code);
// The device is served elsewhere from now on: the client is told ESHUTDOWN, and its session closed.
[[nodiscard]] bool ends_session(Code code);

// Each writes one message's header to `out`, which must have room for k_reply_header_bytes_max, and returns its
// size; data of the stated length follow.
inline constexpr usize k_reply_header_bytes_max = 256;
inline constexpr usize k_error_text_bytes_max = 160;
[[nodiscard]] usize encode_simple_reply(u8* out, u64 cookie, ErrorNumber error);
[[nodiscard]] usize encode_done_chunk(u8* out, u64 cookie);
[[nodiscard]] usize encode_data_chunk(u8* out, u64 cookie, bool done, u64 offset, u32 data_bytes);
[[nodiscard]] usize encode_error_chunk(u8* out, u64 cookie, bool done, ErrorNumber error, std::string_view text);
[[nodiscard]] usize encode_error_offset_chunk(u8* out, u64 cookie, bool done, ErrorNumber error, u64 offset);

struct StatusDescriptor {
    u32 length = 0;
    u32 flags = 0;
    friend bool operator==(const StatusDescriptor&, const StatusDescriptor&) = default;
};
// The whole chunk, for context base:allocation.
[[nodiscard]] std::vector<u8> encode_status_chunk(u64 cookie, std::span<const StatusDescriptor> extents);

}  // namespace corelet::nbd
