// Session, its serving half: operations on the block device, and their replies.
#include "gateway/nbd/session.h"

namespace corelet::nbd {

namespace {

// A block status reply looks at windows of the device until it has described the range or found this much. Short
// replies are allowed (the client asks again), and so neither the extents of a window nor the reply grow large.
constexpr u64 k_status_window_bytes = 64 * k_mib;
constexpr u64 k_status_first_window_bytes = 4 * k_mib;
constexpr usize k_status_windows_max = 128;
constexpr usize k_status_extents_max = 4096;

constexpr u64 k_cache_bytes_max = 8 * k_mib;
constexpr const char* k_elsewhere = "the volume is served elsewhere now";

u32 state_flags(const BlockStatusExtent& extent) {
    return (extent.is_hole ? k_state_hole : 0) | (extent.reads_zero ? k_state_zero : 0);
}

// Adds extents, joining those of equal state. Returns how many bytes they describe.
u64 append_extents(std::vector<StatusDescriptor>& to, const std::vector<BlockStatusExtent>& extents) {
    u64 covered = 0;
    for (const BlockStatusExtent& extent : extents) {
        covered += extent.length_bytes;
        u32 const flags = state_flags(extent);
        if (!to.empty() && to.back().flags == flags) {
            to.back().length += static_cast<u32>(extent.length_bytes);
        } else {
            to.push_back({static_cast<u32>(extent.length_bytes), flags});
        }
    }
    return covered;
}

usize latency_bucket(Duration latency) {
    u64 const us = latency.ns < 0 ? 0 : static_cast<u64>(latency.us());
    return std::min<usize>(static_cast<usize>(std::bit_width(us | 1)) - 1, 31);
}

}  // namespace

OperationPtr Session::make_operation(const Request& request, u64 overhead_bytes) {
    ++requests_in_flight_;
    auto operation = std::make_shared<Operation>();
    operation->request = request;
    operation->began = received_at_;
    operation->overhead_bytes = overhead_bytes;
    operations_.push_back(*operation);
    return operation;
}

void Session::spawn(Task<void> job) {
    ++jobs_;
    jobs_scope_.spawn(std::move(job));
}

void Session::finish_job() {
    --jobs_;
    progress_.notify_all();
}

Task<void> Session::read_piece(OperationPtr operation, u64 offset, u32 length, usize index) {
    Result<BufferChain> data = co_await export_->device->read(offset, length);
    if (data && data->size() != length) data = fail(Code::kIo, "the device read short");
    u64 const held = operation->whole ? 0 : buffer_cost(length);
    if (!data) {
        give_back(held);
        fail_piece(*operation, offset, data.error());
    } else if (operation->whole) {
        if (!operation->answered) operation->parts[index] = *std::move(data);
    } else {
        send_data(*operation, offset, *data, held);
    }
    finish_piece(*operation);
    finish_job();
}

Task<void> Session::write_piece(OperationPtr operation, u64 offset, Buffer data) {
    u64 const held = buffer_cost(data.size());
    bool const fua = operation->request.has(k_command_fua);
    Result<void> const done = co_await export_->device->write(offset, BufferChain(std::move(data)), fua);
    give_back(held);
    if (!done) fail_piece(*operation, offset, done.error());
    finish_piece(*operation);
    finish_job();
}

Task<void> Session::run_command(OperationPtr operation, u64 held_bytes) {
    Result<void> const done = co_await command(operation->request);
    give_back(held_bytes);
    if (!done) fail_piece(*operation, operation->request.offset, done.error());
    finish_piece(*operation);
    finish_job();
}

Task<Result<void>> Session::command(Request request) {
    BlockDevice& device = *export_->device;
    bool const fua = request.has(k_command_fua);
    switch (request.command) {
        case Command::kFlush:
            return device.flush();
        case Command::kTrim:
            return device.trim(request.offset, request.length, fua);
        case Command::kWriteZeroes:
            return device.write_zeroes(request.offset, request.length, !request.has(k_command_no_hole), fua);
        case Command::kCache:
            return cache(request.offset, request.length);
        default:
            CORELET_UNREACHABLE("a command of another path");
    }
}

// Reading warms the caches that a later read will meet. It is a hint that costs the client 28 bytes, so it is
// followed only so far, and one at a time.
Task<Result<void>> Session::cache(u64 offset, u32 length) {
    if (caching_) co_return Result<void>();
    caching_ = true;
    Result<void> done;
    u64 const end = offset + std::min<u64>(length, k_cache_bytes_max);
    for (u64 at = offset; at < end && done; at += k_piece_bytes) {
        auto const size = static_cast<u32>(std::min(k_piece_bytes, end - at));
        Result<BufferChain> const data = co_await export_->device->read(at, size);
        if (!data) done = std::unexpected(data.error());
        co_await yield();
    }
    caching_ = false;
    co_return done;
}

Task<void> Session::run_block_status(OperationPtr operation, u64 held_bytes) {
    Request const request = operation->request;
    Result<std::vector<StatusDescriptor>> const found = co_await block_status(request);
    if (!found || operation->answered) {
        give_back(held_bytes);
        if (!found) fail_piece(*operation, request.offset, found.error());
    } else {
        outbox_.add_whole(Buffer::copy_of(encode_status_chunk(request.cookie, *found)), held_bytes);
        operation->finished = true;
    }
    finish_piece(*operation);
    finish_job();
}

Task<Result<std::vector<StatusDescriptor>>> Session::block_status(Request request) {
    std::vector<StatusDescriptor> found;
    bool const one = request.has(k_command_req_one);
    u64 window = k_status_first_window_bytes;
    u64 at = request.offset;
    for (usize i = 0; i < k_status_windows_max && at < request.end(); ++i, window = k_status_window_bytes) {
        u64 const size = std::min(window, request.end() - at);
        Result<std::vector<BlockStatusExtent>> const extents = co_await export_->device->block_status(at, size);
        if (!extents) co_return std::unexpected(extents.error());
        u64 const covered = append_extents(found, *extents);
        if (covered == 0 || covered > size)
            co_return fail(Code::kIo, "the device described a range that it was not asked for");
        at += covered;
        if (found.size() > (one ? 1 : k_status_extents_max)) break;
    }
    if (found.size() > (one ? 1 : k_status_extents_max)) found.resize(one ? 1 : k_status_extents_max);
    co_return found;
}

void Session::fail_piece(Operation& operation, u64 offset, const Error& error) {
    if (operation.answered) return;
    ErrorNumber const number = error_number(error.code);
    const Request& request = operation.request;
    if (operation.error == ErrorNumber::kNone) {
        operation.error = number;
        operation.error_text = error.message;
    }
    // A read whose data leave piece by piece says which of them are missing; all else is told once, in the end.
    bool const in_pieces = request.command == Command::kRead && request.length > k_piece_bytes && !operation.whole;
    if (in_pieces) {
        outbox_.add(encode_error_offset_chunk(outbox_.header_room(), request.cookie, false, number, offset), {}, 0);
        operation.errors_sent = true;
    }
    if (ends_session(error.code)) shut_down(k_elsewhere);
}

void Session::send_data(Operation& operation, u64 offset, const BufferChain& data, u64 held_bytes) {
    if (operation.answered) return give_back(held_bytes);
    u64 const cookie = operation.request.cookie;
    bool const last = operation.pieces_left <= 1 && operation.error == ErrorNumber::kNone;
    u8* const room = outbox_.header_room();
    usize const size = terms_.structured_replies
                           ? encode_data_chunk(room, cookie, last, offset, static_cast<u32>(data.size()))
                           : encode_simple_reply(room, cookie, ErrorNumber::kNone);
    outbox_.add(size, data, held_bytes);
    operation.finished = last;
    outbox_filled_.notify_all();
}

void Session::send_whole(Operation& operation) {
    BufferChain data;
    for (BufferChain& part : operation.parts) data.append(part);
    operation.parts.clear();
    send_data(operation, operation.request.offset, data, 0);
}

void Session::finish_piece(Operation& operation) {
    CORELET_ASSERT(operation.pieces_left > 0);
    if (--operation.pieces_left > 0 || operation.answered) return;
    if (operation.whole && operation.error == ErrorNumber::kNone) send_whole(operation);
    answer(operation);
}

// Each of them at once, whatever the device still does with it: its pieces may never come.
void Session::answer_shut_down() {
    operations_.for_each([this](Operation& operation) {
        if (&operation == issuing_.get()) return;  // not yet read to its end
        operation.parts.clear();
        note_shut_down(operation);
        answer(operation);
    });
}

void Session::note_shut_down(Operation& operation) {
    if (operation.error != ErrorNumber::kNone) return;
    operation.error = ErrorNumber::kShutdown;
    operation.error_text = k_elsewhere;
}

// The message that ends a reply which has not ended with data.
void Session::send_final(Operation& operation) {
    u64 const cookie = operation.request.cookie;
    u8* const room = outbox_.header_room();
    usize size = 0;
    if (operation.errors_sent) {
        size = encode_done_chunk(room, cookie);
    } else if (operation.error == ErrorNumber::kNone || !terms_.structured_replies) {
        bool const is_read = operation.request.command == Command::kRead;
        CORELET_ASSERT(operation.error != ErrorNumber::kNone || !is_read, "a read was answered without its data");
        size = encode_simple_reply(room, cookie, operation.error);
    } else {
        size = encode_error_chunk(room, cookie, true, operation.error, operation.error_text);
    }
    outbox_.add(size, {}, 0);
}

void Session::answer(Operation& operation) {
    CORELET_ASSERT(!operation.answered);
    if (!operation.finished) send_final(operation);
    operation.finished = operation.answered = true;
    operation.unlink();
    outbox_.finish_reply(operation.overhead_bytes, operation.whole);
    outbox_filled_.notify_all();
    const Request& request = operation.request;
    NbdExportStats& stats = export_->stats;
    if (auto const command = static_cast<usize>(request.command); command < k_commands) ++stats.requests[command];
    ++stats.latency[latency_bucket(env_.clock.now() - operation.began)];
    if (operation.error != ErrorNumber::kNone) {
        ++stats.errors;
    } else if (request.command == Command::kRead) {
        stats.bytes_read += request.length;
    } else if (request.command == Command::kWrite) {
        stats.bytes_written += request.length;
    }
}

}  // namespace corelet::nbd
