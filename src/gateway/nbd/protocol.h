// Numbers and byte order of the NBD protocol (NetworkBlockDevice/nbd, doc/proto.md): fixed newstyle handshake,
// simple and structured replies, the base:allocation metadata context. All integers on the wire are big-endian.
#pragma once

#include <bit>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"

namespace corelet::nbd {

inline constexpr u64 k_greeting_magic = 0x4E42444D41474943;  // "NBDMAGIC"
inline constexpr u64 k_option_magic = 0x49484156454F5054;    // "IHAVEOPT"
inline constexpr u64 k_option_reply_magic = 0x0003E889045565A9;
inline constexpr u32 k_request_magic = 0x25609513;
inline constexpr u32 k_simple_reply_magic = 0x67446698;
inline constexpr u32 k_chunk_magic = 0x668E33EF;

// Handshake flags; the client answers with those it takes.
inline constexpr u32 k_handshake_fixed_newstyle = 1 << 0;
inline constexpr u32 k_handshake_no_zeroes = 1 << 1;

enum class Option : u32 {
    kExportName = 1,
    kAbort = 2,
    kList = 3,
    kStartTls = 5,
    kInfo = 6,
    kGo = 7,
    kStructuredReply = 8,
    kListMetaContext = 9,
    kSetMetaContext = 10,
    kExtendedHeaders = 11,
};

enum class OptionReply : u32 {
    kAck = 1,
    kServer = 2,
    kInfo = 3,
    kMetaContext = 4,
    kErrorUnsupported = 0x80000001,
    kErrorPolicy = 0x80000002,
    kErrorInvalid = 0x80000003,
    kErrorUnknown = 0x80000006,
    kErrorShutdown = 0x80000007,
    kErrorTooBig = 0x80000009,
};

enum class InfoType : u16 { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// Transmission flags: what an export can do.
inline constexpr u16 k_export_has_flags = 1 << 0;
inline constexpr u16 k_export_read_only = 1 << 1;
inline constexpr u16 k_export_send_flush = 1 << 2;
inline constexpr u16 k_export_send_fua = 1 << 3;
inline constexpr u16 k_export_send_trim = 1 << 5;
inline constexpr u16 k_export_send_write_zeroes = 1 << 6;
inline constexpr u16 k_export_send_df = 1 << 7;
inline constexpr u16 k_export_can_multi_conn = 1 << 8;
inline constexpr u16 k_export_send_cache = 1 << 10;
inline constexpr u16 k_export_send_fast_zero = 1 << 11;

enum class Command : u16 {
    kRead = 0,
    kWrite = 1,
    kDisconnect = 2,
    kFlush = 3,
    kTrim = 4,
    kCache = 5,
    kWriteZeroes = 6,
    kBlockStatus = 7,
};
inline constexpr usize k_commands = 8;

inline constexpr u16 k_command_fua = 1 << 0;
inline constexpr u16 k_command_no_hole = 1 << 1;
inline constexpr u16 k_command_df = 1 << 2;
inline constexpr u16 k_command_req_one = 1 << 3;
inline constexpr u16 k_command_fast_zero = 1 << 4;

inline constexpr u16 k_chunk_done = 1 << 0;
enum class ChunkType : u16 {
    kNone = 0,
    kOffsetData = 1,
    kOffsetHole = 2,
    kBlockStatus = 5,
    kError = 0x8001,
    kErrorOffset = 0x8002
};

enum class ErrorNumber : u32 {
    kNone = 0,
    kPerm = 1,
    kIo = 5,
    kNoMemory = 12,
    kInvalid = 22,
    kNoSpace = 28,
    kOverflow = 75,
    kNotSupported = 95,
    kShutdown = 108,
};

inline constexpr std::string_view k_allocation_context = "base:allocation";
inline constexpr u32 k_allocation_context_id = 1;
inline constexpr u32 k_state_hole = 1 << 0;
inline constexpr u32 k_state_zero = 1 << 1;

inline constexpr u32 k_string_bytes_max = 4096;  // names and descriptions
inline constexpr u32 k_block_minimum = 512;
inline constexpr u32 k_block_preferred = 4096;
inline constexpr u32 k_block_maximum = 32 * k_mib;  // payload of one request or reply

inline constexpr usize k_option_header_bytes = 16;  // magic, option, length
inline constexpr usize k_request_bytes = 28;
inline constexpr usize k_simple_reply_bytes = 16;
inline constexpr usize k_chunk_header_bytes = 20;

template <class T>
    requires std::is_unsigned_v<T>
[[nodiscard]] T load_be(const u8* from) {
    T value;
    std::memcpy(&value, from, sizeof(T));
    return std::byteswap(value);  // all supported machines are little-endian
}
template <class T>
    requires std::is_unsigned_v<T>
u8* store_be(u8* to, T value) {
    value = std::byteswap(value);
    std::memcpy(to, &value, sizeof(T));
    return to + sizeof(T);
}

// Takes integers and strings off the front of a message; a short message turns it into a failed state that is asked
// once.
class BigReader {
  public:
    explicit BigReader(Bytes bytes) : in_(bytes) {}
    template <class T>
    [[nodiscard]] T get() {
        Bytes const raw = get_raw(sizeof(T));
        return failed_ ? T{} : load_be<T>(raw.data());
    }
    [[nodiscard]] Bytes get_raw(usize size) {
        if (failed_ || in_.size() < size) {
            failed_ = true;
            return {};
        }
        Bytes const out = in_.first(size);
        in_ = in_.subspan(size);
        return out;
    }
    // u32 length, then the text.
    [[nodiscard]] std::string_view get_text() { return as_text(get_raw(get<u32>())); }
    [[nodiscard]] bool failed() const { return failed_; }
    [[nodiscard]] bool complete() const { return !failed_ && in_.empty(); }
    [[nodiscard]] usize remaining() const { return in_.size(); }

  private:
    Bytes in_;
    bool failed_ = false;
};

class BigWriter {
  public:
    explicit BigWriter(std::vector<u8>& out) : out_(out) {}
    template <class T>
    BigWriter& put(T value) {
        u8 raw[sizeof(T)];
        store_be(raw, value);
        out_.insert(out_.end(), raw, raw + sizeof(T));
        return *this;
    }
    BigWriter& put_text(std::string_view text) {
        out_.insert(out_.end(), text.begin(), text.end());
        return *this;
    }
    BigWriter& put_zeroes(usize count) {
        out_.resize(out_.size() + count);
        return *this;
    }

  private:
    std::vector<u8>& out_;
};

}  // namespace corelet::nbd
