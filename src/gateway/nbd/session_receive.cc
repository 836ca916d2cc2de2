// Session, its receiving half: from bytes to operations that are under way.
#include "gateway/nbd/session.h"

namespace corelet::nbd {

namespace {

// A payload up to this size that has not arrived whole is waited for among the requests behind it: copying it costs
// less than another system call. The rest of a longer one is read straight into its place.
constexpr usize k_copied_payload_bytes_max = 16 * k_kib;
// After a payload that was read straight into its place, the next one should be too: read little more than its
// header.
constexpr usize k_receive_bytes_before_payload = 4 * k_kib;
// Receives of at most the idle size in a row, after which a large buffer is given up.
constexpr u32 k_small_receives_max = 64;
// Of the common lane, for large receive buffers.
constexpr u64 k_receive_share_bytes = k_common_lane_bytes / 4;
constexpr u64 k_large_receive_cost = buffer_cost(k_receive_bytes_busy);

u64 piece_end(const Request& request, u64 offset) {
    if (request.length <= k_piece_bytes) return request.end();
    return std::min(request.end(), round_down(offset, k_piece_bytes) + k_piece_bytes);
}

}  // namespace

Task<void> Session::read_requests() {
    bool more = true;
    while (more && !stop_.is_set()) {
        if (buffered() < k_request_bytes) {
            bool const received = co_await receive(k_request_bytes);
            if (!received) break;
        }
        Request request;
        if (!decode_request(receive_buffer_.data() + receive_begin_, request)) {
            end("a request without the request magic");
            break;
        }
        receive_begin_ += k_request_bytes;
        taking_ = request;
        payload_left_ = request.command == Command::kWrite ? request.length : 0;
        more = co_await take_request(request);
        taking_.reset();
        issuing_.reset();
    }
    progress_.notify_all();
}

Task<bool> Session::take_request(Request request) {
    Admission const admission = admit(request, export_->info, terms_);
    if (request.command != Command::kWrite) expect_large_payload_ = false;
    switch (admission.verdict) {
        case Verdict::kServe:
            break;
        case Verdict::kRefuse:
            co_return co_await refuse(request, admission);
        case Verdict::kDisconnect:
        case Verdict::kClose:
            end(admission.reason);
            co_return false;
    }
    if (request.command == Command::kWrite) co_return co_await start_write(request);
    if (request.command == Command::kRead) {
        co_await start_read(request);
    } else {
        co_await start_other(request);
    }
    co_return true;
}

Task<bool> Session::refuse(Request request, Admission admission) {
    bool const received = co_await discard_payload();
    if (!received) co_return false;
    co_await hold(k_request_overhead_bytes);
    OperationPtr const operation = make_operation(request, k_request_overhead_bytes);
    operation->error = admission.error;
    operation->error_text = admission.reason;
    finish_piece(*operation);
    co_return true;
}

Task<void> Session::start_read(Request request) {
    bool const whole = request.length > k_piece_bytes && (!terms_.structured_replies || request.has(k_command_df));
    if (whole) co_await hold_whole_lane();
    u64 held = whole ? k_request_overhead_bytes : 0;
    if (whole) co_await hold(held);
    OperationPtr operation;
    u64 next = request.offset;
    for (u64 offset = request.offset; offset < request.end() && !shutting_down_; offset = next) {
        next = piece_end(request, offset);
        if (!whole) {
            held = buffer_cost(next - offset) + (operation ? 0 : k_request_overhead_bytes);
            if (!try_hold(held)) co_await hold(held);
        }
        if (!operation) {
            operation = issuing_ = make_operation(request, k_request_overhead_bytes);
            operation->whole = whole;
        }
        if (operation->error != ErrorNumber::kNone) break;
        ++operation->pieces_left;
        usize const index = operation->parts.size();
        if (whole) operation->parts.emplace_back();
        spawn(read_piece(operation, offset, static_cast<u32>(next - offset), index));
    }
    if (!operation) operation = make_operation(request, held);
    if (shutting_down_) note_shut_down(*operation);
    finish_piece(*operation);
}

Task<bool> Session::start_write(Request request) {
    OperationPtr operation;
    u64 next = request.offset;
    for (u64 offset = request.offset; offset < request.end() && !shutting_down_; offset = next) {
        if (operation && operation->error != ErrorNumber::kNone) break;
        next = piece_end(request, offset);
        u64 const held = buffer_cost(next - offset) + (operation ? 0 : k_request_overhead_bytes);
        if (!try_hold(held)) co_await hold(held);
        if (!operation) operation = issuing_ = make_operation(request, k_request_overhead_bytes);
        Result<Buffer> data = co_await read_payload(static_cast<u32>(next - offset));
        if (!data) co_return false;
        payload_left_ -= next - offset;
        ++operation->pieces_left;
        spawn(write_piece(operation, offset, *std::move(data)));
    }
    // What comes behind an error is of no use any more.
    bool const received = co_await discard_payload();
    if (!received) co_return false;
    if (!operation) operation = make_operation(request, 0);
    if (shutting_down_) note_shut_down(*operation);
    finish_piece(*operation);
    co_return true;
}

Task<void> Session::start_other(Request request) {
    u64 extra = 0;
    if (request.command == Command::kCache) extra = buffer_cost(std::min<u64>(request.length, k_piece_bytes));
    if (request.command == Command::kBlockStatus) extra = k_status_bytes;
    u64 const held = k_request_overhead_bytes + extra;
    if (!try_hold(held)) co_await hold(held);
    OperationPtr operation = make_operation(request, k_request_overhead_bytes);
    if (request.command == Command::kBlockStatus) {
        spawn(run_block_status(std::move(operation), extra));
    } else {
        spawn(run_command(std::move(operation), extra));
    }
}

Task<Result<Buffer>> Session::read_payload(u32 bytes) {
    if (buffered() < bytes && bytes <= std::min(k_copied_payload_bytes_max, receive_buffer_.size() / 2)) {
        payload_since_ = env_.clock.now();
        bool const received = co_await receive(bytes);
        payload_since_.reset();
        if (!received) co_return fail(Code::kClosed);
    }
    Buffer data = Buffer::allocate(bytes);
    usize const here = std::min<usize>(buffered(), bytes);
    std::memcpy(data.mutable_data(), receive_buffer_.data() + receive_begin_, here);
    receive_begin_ += here;
    expect_large_payload_ = here < bytes;
    if (here == bytes) co_return data;
    payload_since_ = env_.clock.now();
    Result<usize> const rest = co_await connection_->read(data, here, bytes - here);
    payload_since_.reset();
    if (!rest) {
        end("the connection ended within a request: " + rest.error().to_string());
        co_return std::unexpected(rest.error());
    }
    CORELET_ASSERT(*rest == bytes - here, "the rest of a payload came short");
    co_return data;
}

Task<bool> Session::discard_payload() {
    while (true) {
        u64 const here = std::min<u64>(buffered(), payload_left_);
        receive_begin_ += here;
        payload_left_ -= here;
        if (payload_left_ == 0) co_return true;
        bool const received = co_await receive(1);
        if (!received) co_return false;
    }
}

Task<bool> Session::receive(usize wanted) {
    fit_receive_buffer(wanted);
    usize limit = receive_buffer_.size();
    if (expect_large_payload_)
        limit = std::min(limit, receive_end_ + std::max(wanted, k_receive_bytes_before_payload));
    Result<usize> const got =
        co_await connection_->read(receive_buffer_.slice(0, limit), receive_end_, wanted - buffered());
    received_at_ = env_.clock.now();
    if (!got) {
        bool const orderly = got.error().code == Code::kClosed && buffered() == 0;
        end(orderly ? "the client closed the connection"
                    : "the connection ended within a request: " + got.error().to_string());
        co_return false;
    }
    receive_end_ += *got;
    CORELET_ASSERT(receive_end_ <= limit && buffered() >= wanted);
    small_receives_ = *got > k_receive_bytes_idle / 2 ? 0 : small_receives_ + 1;
    co_return true;
}

// Room for `wanted` bytes from the buffer's front on; large while requests come in bulk, small for who is idle.
void Session::fit_receive_buffer(usize wanted) {
    bool const was_full = receive_end_ == receive_buffer_.size();
    usize size = receive_buffer_.size();
    Semaphore& lane = export_->budget.common();
    if (receive_held_bytes_ == 0 && was_full && !expect_large_payload_ &&
        export_->receive_bytes + k_large_receive_cost <= k_receive_share_bytes &&
        lane.try_acquire(k_large_receive_cost)) {
        receive_held_bytes_ = k_large_receive_cost;
        export_->receive_bytes += k_large_receive_cost;
        size = k_receive_bytes_busy;
    } else if (receive_held_bytes_ != 0 && small_receives_ > k_small_receives_max &&
               buffered() < k_receive_bytes_idle) {
        export_->budget.give_back(receive_held_bytes_);
        export_->receive_bytes -= receive_held_bytes_;
        receive_held_bytes_ = 0;
        size = k_receive_bytes_idle;
    }
    size = std::max(size, wanted);
    Buffer const old = receive_buffer_;
    if (size != old.size()) receive_buffer_ = Buffer::allocate(size);
    std::memmove(receive_buffer_.mutable_data(), old.data() + receive_begin_, buffered());
    receive_end_ -= receive_begin_;
    receive_begin_ = 0;
}

bool Session::try_hold(u64 bytes) {
    MemoryBudget& budget = export_->budget;
    if (requests_in_flight_ >= k_requests_in_flight_max || !budget.is_fair(held_bytes_, bytes)) return false;
    if (!budget.common().try_acquire(bytes)) return false;
    held_bytes_ += bytes;
    return true;
}

Task<void> Session::hold(u64 bytes) {
    MemoryBudget& budget = export_->budget;
    waits_for_memory_ = true;
    while (requests_in_flight_ >= k_requests_in_flight_max || !budget.is_fair(held_bytes_, bytes)) {
        co_await budget.wait_for_release();
    }
    co_await budget.common().acquire(bytes);
    held_bytes_ += bytes;
    waits_for_memory_ = false;
}

Task<void> Session::hold_whole_lane() {
    waits_for_memory_ = true;
    co_await export_->budget.whole().acquire(1);
    CORELET_ASSERT(!holds_whole_lane_);
    holds_whole_lane_ = true;
    waits_for_memory_ = false;
}

}  // namespace corelet::nbd
