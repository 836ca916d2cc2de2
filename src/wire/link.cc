#include "wire/link.h"

#include <fmt/format.h>

#include "rt/combine.h"
#include "wire/node.h"

namespace corelet {

namespace {
constexpr usize k_slot_bits = 16;
}

Link::Link(RpcNode::Impl& node, Target target, Lane lane)
    : node_(node), target_(std::move(target)), lane_(lane), scope_(node.env.executor) {
    CORELET_ASSERT(lane_ != Lane::kAuto);
}

Link::~Link() {
    fail_all(Error{Code::kShutdown, false, 0, "the node is stopping"});
}

// ---- calls in

void Link::submit(PendingCall& call) {
    node_.stats.timeouts += queue_.fail_late(node_.now());
    if (queue_.size() >= node_.options.limits.calls_waiting) {
        call.finish(
            fail(Code::kOverloaded, fmt::format("{} calls wait for {}", queue_.size(), to_string(target_))));
        return;
    }
    if (state_ == State::kIdle) {
        Instant const now = node_.now();
        if (now < retry_at_) {
            call.finish(
                fail(Code::kReset, fmt::format("{} is not reachable ({}); next attempt in {} ms",
                                               to_string(target_), last_failure_, (retry_at_ - now).ms() + 1)));
            return;
        }
        state_ = State::kConnecting;
        scope_.spawn(run());
    }
    call.path = this;
    queue_.push(call);
    if (has_work()) work_.notify_one();
    if (flushing_since_ && node_.now() - *flushing_since_ >= node_.options.limits.silence) doubt();
}

void Link::withdraw(PendingCall& call, bool timed_out) {
    CORELET_ASSERT(call.path == this);
    call.path = nullptr;
    bool const sent = call.correlation != 0;
    if (sent) {
        cancels_.push_back(call.correlation);
        leave(call);
    } else if (call.queued) {
        queue_.remove(call);
    } else {
        call.unlink();  // one-way, being written
    }
    if (!timed_out) return;
    ++node_.stats.timeouts;
    bool const heard_since = sent && last_heard_ >= call.sent_at;
    if (!heard_since) doubt();
}

// Something was asked, or waits behind what cannot be written, and nothing was heard for long: ask for a sign of
// life. A connection to a host that lost its power gives no error for minutes.
void Link::doubt() {
    if (state_ == State::kUp && node_.now() - last_heard_ >= node_.options.limits.silence) ask_for_a_sign();
}

void Link::ask_for_a_sign() {
    if (std::exchange(probing_, true)) return;
    scope_.spawn(probe());
}

Task<void> Link::probe() {
    auto ping = std::make_unique<PendingCall>();
    Instant const begun = node_.now();
    ping->method = k_method_ping;
    ping->options.traffic = TrafficClass::kControl;
    ping->deadline = begun + node_.options.limits.probe_timeout;
    submit(*ping);
    Result<Reply> const answer = co_await await_reply(std::move(ping), &node_.env.clock);
    probing_ = false;
    if (answer || state_ != State::kUp || last_heard_ >= begun) co_return;
    break_off(
        Error{Code::kReset, false, 0, fmt::format("nothing heard for {} ms", (node_.now() - last_heard_).ms())});
}

u64 Link::enter(PendingCall& call) {
    u16 slot = 0;
    if (free_.empty()) {
        CORELET_ASSERT(table_.size() < (1U << k_slot_bits));
        slot = static_cast<u16>(table_.size());
        table_.push_back(nullptr);
    } else {
        slot = free_.back();
        free_.pop_back();
    }
    CORELET_ASSERT(table_[slot] == nullptr);
    table_[slot] = &call;
    ++in_flight_;
    in_flight_bytes_ += call.cost_bytes;
    call.correlation = (++sequence_ << k_slot_bits) | slot;
    return call.correlation;
}

void Link::leave(PendingCall& call) {
    u16 const slot = static_cast<u16>(call.correlation);
    CORELET_ASSERT(table_[slot] == &call && in_flight_ > 0);
    table_[slot] = nullptr;
    free_.push_back(slot);
    --in_flight_;
    in_flight_bytes_ -= call.cost_bytes;
    call.correlation = 0;
    if (has_work()) work_.notify_one();
    if (holding_) drained_.notify_all();
}

void Link::fail_all(const Error& reason) {
    queue_.fail_all(reason);
    while (!writing_.empty()) writing_.pop_front().finish(std::unexpected(reason));
    for (usize slot = 0; slot < table_.size(); ++slot) {
        if (!table_[slot]) continue;
        PendingCall& call = *table_[slot];
        leave(call);
        call.finish(std::unexpected(reason));
    }
    CORELET_ASSERT(is_idle() || probing_);
}

// ---- batches out

bool Link::has_work() {
    if (state_ != State::kUp || holding_) return false;
    return !cancels_.empty() || (!queue_.empty() && may_send(queue_.front()));
}

// Within what the server said that it takes; an eighth of it is kept for control, so that heartbeats pass.
bool Link::may_send(const PendingCall& call) const {
    if (call.kind == FrameKind::kOneWay) return true;
    u64 requests = node_.options.limits.calls_in_flight;
    if (peer_.window_requests != 0) requests = std::min<u64>(requests, peer_.window_requests);
    u64 bytes = peer_.window_bytes != 0 ? peer_.window_bytes : UINT64_MAX;
    if (call.options.traffic != TrafficClass::kControl) {
        requests -= requests / 8;
        bytes -= bytes / 8;
    }
    return in_flight_ < requests && (in_flight_bytes_ == 0 || in_flight_bytes_ + call.cost_bytes <= bytes);
}

Task<void> Link::write_loop() {
    for (;;) {
        while (!has_work()) co_await work_.wait();
        // What else is called in this turn goes with it.
        co_await yield();
        fill_batch();
        if (stream_->encoder.bytes() == 0) continue;
        flushing_since_ = node_.now();
        Result<void> const written = co_await stream_->flush();
        flushing_since_.reset();
        if (!written) {
            break_off(with_context(written.error(), "writing"));
            co_return;
        }
        while (!writing_.empty()) writing_.pop_front().finish(Reply{});
        if (holding_) drained_.notify_all();
    }
}

void Link::fill_batch() {
    for (u64 const correlation : cancels_) {
        FrameHeader header;
        header.kind = FrameKind::kCancel;
        stream_->encoder.add(correlation, header, {}, {}, {});
        ++node_.stats.frames_sent;
    }
    cancels_.clear();
    usize const limit = node_.options.limits.batch_bytes;
    while (stream_->encoder.bytes() < limit) {
        node_.stats.timeouts += queue_.fail_late(node_.now());
        if (!has_work()) return;
        // A batch begun is not made much larger than it should be by one huge frame.
        usize const next = queue_.front().payload.size();
        if (stream_->encoder.bytes() != 0 && stream_->encoder.bytes() + next > 2 * limit) return;
        encode(queue_.pop());
    }
}

void Link::encode(PendingCall& call) {
    FrameHeader header;
    header.kind = call.kind;
    header.method = call.method;
    header.traffic = call.options.traffic;
    header.deadline_ms = node_.remaining_ms(call.deadline);
    header.map_epoch = node_.map_epoch;
    header.reply_bytes_expected = call.options.reply_bytes_expected;
    call.sent_at = node_.now();
    u64 correlation = 0;
    if (call.kind == FrameKind::kRequest) {
        correlation = enter(call);
    } else {
        writing_.push_back(call);
    }
    stream_->encoder.add(correlation, header, call.body, call.payload, call.options.payload_crc);
    call.body = {};
    call.payload.clear();
    ++node_.stats.frames_sent;
}

// ---- replies in

Task<Error> Link::read_loop() {
    for (;;) {
        Result<std::optional<Frame>> next = stream_->parser.next();
        Result<void> done{};
        if (!next) {
            done = std::unexpected(next.error());
        } else if (*next) {
            done = take(*std::move(*next));
        } else {
            Result<void> const filled = co_await stream_->fill();
            if (!filled) co_return filled.error();
            last_heard_ = node_.now();
            continue;
        }
        if (done) continue;
        if (done.error().code != Code::kCorrupt) co_return done.error();  // they hung up on us, with a reason
        ++node_.stats.malformed;
        log_warning(node_.env.log, "wire.malformed", [&] {
            return fmt::format("connection to {} closed: {}", to_string(target_), done.error().message);
        });
        co_return done.error();
    }
}

Result<void> Link::take(Frame frame) {
    if (frame.header.kind == FrameKind::kHello && frame.header.failure)
        return std::unexpected(with_context(*frame.header.failure, "closed by the other side"));
    if (frame.header.kind != FrameKind::kResponse) return fail(Code::kCorrupt, "a frame that no server sends");
    node_.epoch_shown(peer_.corelet, &peer_epoch_, frame.header.map_epoch);
    usize const slot = frame.correlation & ((1U << k_slot_bits) - 1);
    PendingCall* const call = slot < table_.size() ? table_[slot] : nullptr;
    if (!call || call->correlation != frame.correlation) return {};  // cancelled meanwhile
    bool const checked = frame.payload.empty() || call->options.checks_payload || frame.payload_verifies();
    if (!checked) return fail(Code::kCorrupt, "payload checksum does not match");
    leave(*call);
    if (frame.header.failure) {
        call->finish(std::unexpected(*std::move(frame.header.failure)));
        return {};
    }
    Reply reply;
    reply.body = std::move(frame.body);
    reply.payload_crc = frame.header.payload_crc;
    reply.map_epoch = frame.header.map_epoch;
    reply.payload.append(std::move(frame.payload));
    call->finish(std::move(reply));
    return {};
}

// ---- the connection's life

Task<void> Link::run() {
    for (;;) {
        state_ = State::kConnecting;
        broken_.reset();
        Result<void> established = co_await establish();
        if (established && broken_) established = std::unexpected(*broken_);
        if (!established) {
            stream_.reset();
            bool const again = connect_failed(established.error());
            if (again) continue;
            co_return;
        }
        failures_ = 0;
        flushing_since_.reset();
        state_ = State::kUp;
        ++node_.stats.connects;
        node_.events.peer_connected(peer_, context_);
        co_await serve();
        stream_.reset();
        if (queue_.empty()) break;
    }
    state_ = State::kIdle;
}

Task<void> Link::serve() {
    Scope helpers(node_.env.executor);
    helpers.spawn(write_loop());
    if (!context_.via.is_zero()) helpers.spawn(seek_direct());
    Error const reason = co_await read_loop();
    break_off(reason);
}

void Link::break_off(const Error& reason) {
    if (state_ == State::kIdle || state_ == State::kBroken) return;
    // To a caller all ways in which a connection ends are one.
    Error told = with_context(reason, fmt::format("connection to {} broke", to_string(target_)));
    told.code = Code::kReset;
    if (state_ == State::kConnecting) {
        broken_ = reason;
        fail_all(told);
        return;
    }
    state_ = State::kBroken;
    retry_at_ = node_.now();
    // Drained: those that wait go with the next connection.
    if (!std::exchange(holding_, false) || !is_drained()) fail_all(told);
    cancels_.clear();
    stream_->connection().close();
    ++node_.stats.disconnects;
    log_info(node_.env.log, "wire.disconnected", [&] { return told.message; });
    Error const shown{reason.code == Code::kClosed ? Code::kClosed : Code::kReset, reason.injected, 0,
                      reason.message};
    node_.events.peer_disconnected(peer_, context_, shown);
}

// True if the task goes on to another attempt.
bool Link::connect_failed(const Error& reason) {
    ++node_.stats.connect_failures;
    const RpcLimits& limits = node_.options.limits;
    Duration delay = limits.backoff_max;
    if (failures_ < 20) delay = std::min(delay, limits.backoff_min * (i64{1} << failures_));
    ++failures_;
    delay = delay / 2 + Duration{static_cast<i64>(node_.rng.below(static_cast<u64>(delay.ns / 2 + 1)))};
    retry_at_ = node_.now() + delay;
    last_failure_ = reason.message;
    log_info(node_.env.log, "wire.unreachable",
             [&] { return fmt::format("{}: {}", to_string(target_), reason.to_string()); });
    // Calls made since break_off() deserve an attempt of their own.
    if (broken_ && !queue_.empty()) return true;
    state_ = State::kIdle;
    fail_all(reason);
    if (const auto* id = std::get_if<CoreletId>(&target_)) node_.events.peer_unreachable(*id, reason);
    return false;
}

void Link::forgive() {
    failures_ = 0;
    if (state_ == State::kIdle) retry_at_ = Instant{};
}

}  // namespace corelet
