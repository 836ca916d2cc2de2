#include "gateway/nbd/transmission.h"

namespace corelet::nbd {

namespace {

constexpr Admission k_served{};

Admission refuse(ErrorNumber error, const char* reason) {
    return {Verdict::kRefuse, error, reason};
}

// Flags that a command may bear. FUA is taken with any, as clients are known to set it on reads too.
u16 allowed_flags(Command command, const Terms& terms) {
    switch (command) {
        case Command::kRead:
            return terms.structured_replies ? k_command_fua | k_command_df : k_command_fua;
        case Command::kWriteZeroes:
            return k_command_fua | k_command_no_hole | k_command_fast_zero;
        case Command::kBlockStatus:
            return k_command_fua | k_command_req_one;
        default:
            return k_command_fua;
    }
}

bool changes_data(Command command) {
    return command == Command::kWrite || command == Command::kTrim || command == Command::kWriteZeroes;
}

Admission check_range(const Request& request, const ExportInfo& info) {
    if (request.length == 0) return refuse(ErrorNumber::kInvalid, "length 0");
    if (request.offset > info.size_bytes || request.length > info.size_bytes - request.offset) {
        bool const fills = request.command == Command::kWrite || request.command == Command::kWriteZeroes;
        return refuse(fills ? ErrorNumber::kNoSpace : ErrorNumber::kInvalid, "beyond the end of the export");
    }
    if (request.offset % k_block_minimum != 0 || request.length % k_block_minimum != 0) {
        return refuse(ErrorNumber::kInvalid, "offset or length is no multiple of 512");
    }
    return k_served;
}

Admission check_payload(const Request& request) {
    if (request.length <= k_block_maximum) return k_served;
    if (request.command == Command::kRead) {
        return refuse(request.has(k_command_df) ? ErrorNumber::kOverflow : ErrorNumber::kInvalid,
                      "longer than 32 MiB");
    }
    if (request.command != Command::kWrite) return k_served;
    if (request.length > k_discard_bytes_max)
        return {Verdict::kClose, ErrorNumber::kInvalid, "a payload far beyond 32 MiB"};
    return refuse(ErrorNumber::kInvalid, "longer than 32 MiB");
}

u8* put_chunk_header(u8* out, u16 flags, ChunkType type, u64 cookie, usize payload_bytes) {
    out = store_be(out, k_chunk_magic);
    out = store_be(out, flags);
    out = store_be(out, static_cast<u16>(type));
    out = store_be(out, cookie);
    return store_be(out, static_cast<u32>(payload_bytes));
}
u16 done_flag(bool done) {
    return done ? k_chunk_done : u16{0};
}

}  // namespace

bool decode_request(const u8* bytes, Request& request) {
    request.flags = load_be<u16>(bytes + 4);
    request.command = static_cast<Command>(load_be<u16>(bytes + 6));
    request.cookie = load_be<u64>(bytes + 8);
    request.offset = load_be<u64>(bytes + 16);
    request.length = load_be<u32>(bytes + 24);
    return load_be<u32>(bytes) == k_request_magic;
}

Admission admit(const Request& request, const ExportInfo& info, const Terms& terms) {
    if (request.command == Command::kDisconnect) return {Verdict::kDisconnect, ErrorNumber::kNone, "disconnect"};
    if (static_cast<usize>(request.command) >= k_commands) return refuse(ErrorNumber::kInvalid, "unknown command");
    // First, because it may have to end the session.
    if (Admission const size = check_payload(request); size.verdict != Verdict::kServe) return size;
    if ((request.flags & ~allowed_flags(request.command, terms)) != 0) {
        return refuse(ErrorNumber::kInvalid, "a flag that this command does not take");
    }
    if (request.command == Command::kFlush) {
        if (request.offset != 0 || request.length != 0)
            return refuse(ErrorNumber::kInvalid, "a flush takes no range");
        return k_served;
    }
    if (info.read_only && changes_data(request.command))
        return refuse(ErrorNumber::kPerm, "the export is read-only");
    if (request.command == Command::kBlockStatus && !terms.allocation_context) {
        return refuse(ErrorNumber::kInvalid, "no metadata context was agreed on");
    }
    if (Admission const range = check_range(request, info); range.verdict != Verdict::kServe) return range;
    if (request.has(k_command_fast_zero)) {
        if (!info.fast_zero) return refuse(ErrorNumber::kInvalid, "fast zeroing was not offered");
        if (request.has(k_command_no_hole))
            return refuse(ErrorNumber::kNotSupported, "zeroes without a hole are not fast");
    }
    return k_served;
}

ErrorNumber error_number(Code code) {
    switch (code) {
        case Code::kFenced:
        case Code::kShutdown:
        case Code::kNotOwner:
            return ErrorNumber::kShutdown;
        case Code::kNoSpace:
            return ErrorNumber::kNoSpace;
        case Code::kInvalid:
            return ErrorNumber::kInvalid;
        case Code::kDenied:
            return ErrorNumber::kPerm;
        case Code::kUnsupported:
            return ErrorNumber::kNotSupported;
        default:
            return ErrorNumber::kIo;
    }
}

bool ends_session(Code code) {
    return error_number(code) == ErrorNumber::kShutdown;
}

usize encode_simple_reply(u8* out, u64 cookie, ErrorNumber error) {
    out = store_be(out, k_simple_reply_magic);
    out = store_be(out, static_cast<u32>(error));
    store_be(out, cookie);
    return k_simple_reply_bytes;
}

usize encode_done_chunk(u8* out, u64 cookie) {
    put_chunk_header(out, k_chunk_done, ChunkType::kNone, cookie, 0);
    return k_chunk_header_bytes;
}

usize encode_data_chunk(u8* out, u64 cookie, bool done, u64 offset, u32 data_bytes) {
    out = put_chunk_header(out, done_flag(done), ChunkType::kOffsetData, cookie, sizeof(u64) + data_bytes);
    store_be(out, offset);
    return k_chunk_header_bytes + sizeof(u64);
}

usize encode_error_chunk(u8* out, u64 cookie, bool done, ErrorNumber error, std::string_view text) {
    text = text.substr(0, k_error_text_bytes_max);
    usize const payload = sizeof(u32) + sizeof(u16) + text.size();
    out = put_chunk_header(out, done_flag(done), ChunkType::kError, cookie, payload);
    out = store_be(out, static_cast<u32>(error));
    out = store_be(out, static_cast<u16>(text.size()));
    std::memcpy(out, text.data(), text.size());
    return k_chunk_header_bytes + payload;
}

usize encode_error_offset_chunk(u8* out, u64 cookie, bool done, ErrorNumber error, u64 offset) {
    usize const payload = sizeof(u32) + sizeof(u16) + sizeof(u64);
    out = put_chunk_header(out, done_flag(done), ChunkType::kErrorOffset, cookie, payload);
    out = store_be(out, static_cast<u32>(error));
    out = store_be(out, u16{0});
    store_be(out, offset);
    return k_chunk_header_bytes + payload;
}

std::vector<u8> encode_status_chunk(u64 cookie, std::span<const StatusDescriptor> extents) {
    CORELET_ASSERT(!extents.empty(), "a status reply has at least one extent");
    usize const payload = sizeof(u32) + extents.size() * 2 * sizeof(u32);
    std::vector<u8> chunk(k_chunk_header_bytes + payload);
    u8* out = put_chunk_header(chunk.data(), k_chunk_done, ChunkType::kBlockStatus, cookie, payload);
    out = store_be(out, k_allocation_context_id);
    for (const StatusDescriptor& extent : extents) {
        out = store_be(out, extent.length);
        out = store_be(out, extent.flags);
    }
    return chunk;
}

}  // namespace corelet::nbd
