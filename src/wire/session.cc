#include "wire/session.h"

#include <fmt/format.h>

#include "rt/combine.h"
#include "wire/node.h"
#include "wire/relay.h"

namespace corelet {

namespace {
constexpr u32 k_gather_replies = 128;
constexpr u32 k_gather_rounds = 256;  // some tens of microseconds
}  // namespace

Session::Session(RpcNode::Impl& node, std::unique_ptr<Connection> connection)
    : node_(node), stream_(std::move(connection), node.options.limits, node.stats) {
    context_.inbound = true;
    context_.address = stream_.connection().remote_address();
    context_.credentials = stream_.connection().peer_credentials();
}

Session::~Session() {
    if (peer_) --node_.sessions_admitted;
    node_.dispatcher.abandon(*this);
}

// ---- life

Task<void> Session::serve(bool is_unix) {
    Instant const deadline = node_.now() + node_.options.limits.connect_timeout;
    Result<void> const greeted = co_await with_deadline<void>(node_.env.clock, deadline, greet(is_unix));
    if (!greeted) {
        // Somebody looked whether anybody listens here.
        if (greeted.error().code == Code::kClosed && !refusal_) co_return;
        log_warning(node_.env.log, "wire.refused", [&] {
            const Error& reason = refusal_ ? *refusal_ : greeted.error();
            return fmt::format("connection from {}: {}", context_.address.to_string(), reason.to_string());
        });
        co_return;
    }
    if (onward_) {
        Counted const passed_on(node_.relays);
        co_await splice(&node_, &stream_.connection(), &onward_->connection());
        co_return;
    }
    state_ = State::kUp;
    node_.session_established(*this);
    node_.events.peer_connected(*peer_, context_);
    Scope writer(node_.env.executor);
    writer.spawn(write_loop());
    Error const reason = co_await read_loop();
    break_off(reason);
}

Task<Result<void>> Session::greet(bool is_unix) {
    CO_TRY(Frame const frame, co_await stream_.read_frame());
    CO_TRY(Hello const theirs, hello_of(frame));
    if (!theirs.via.is_zero()) {
        context_.via = theirs.via;
        context_.credentials.reset();
    }
    Hello const mine = node_.hello(theirs.lane);
    Result<u16> const version = judge(mine, theirs, is_unix);
    if (!version) co_return co_await refuse(version.error());
    if (theirs.wanted.is_zero() || theirs.wanted == node_.id) co_return co_await answer(mine, theirs, *version);
    co_return co_await pass_on(theirs, frame.body);
}

Task<Result<void>> Session::answer(Hello mine, Hello theirs, u16 version) {
    peer_ = std::make_shared<const Hello>(theirs);
    ++node_.sessions_admitted;
    peer_epoch_ = theirs.map_epoch;
    stream_.encode_hello_frame(mine);
    CO_TRY_VOID(co_await stream_.flush());
    stream_.agree(version);
    co_return {};
}

Task<Result<void>> Session::pass_on(Hello theirs, Buffer body) {
    if (!stream_.parser.is_between_frames())
        co_return co_await refuse(Error{Code::kCorrupt, false, 0, "more than a hello, before it was answered"});
    auto onward = co_await connect_on(&node_, theirs, std::move(body));
    if (!onward) co_return co_await refuse(onward.error());
    onward_ = *std::move(onward);
    co_return {};
}

Task<Result<void>> Session::refuse(Error reason) {
    refusal_ = reason;
    co_await stream_.refuse(reason);
    co_return std::unexpected(reason);
}

Result<u16> Session::judge(const Hello& mine, const Hello& theirs, bool is_unix) {
    TRY_VOID(check_credentials(stream_.connection(), is_unix, node_.options.own_uid));
    if (node_.sessions_admitted >= node_.options.limits.sessions)
        return fail(Code::kOverloaded, fmt::format("{} connections stand already", node_.sessions_admitted));
    TRY(u16 const version, negotiate_version(mine, theirs));
    TRY_VOID(node_.policy.judge(theirs, context_));
    return version;
}

void Session::break_off(const Error& reason) {
    if (state_ != State::kUp) return;
    state_ = State::kBroken;
    stream_.connection().close();
    node_.dispatcher.abandon(*this);
    room_.notify_all();
    ++node_.stats.disconnects;
    log_info(node_.env.log, "wire.session_ended", [&] {
        return fmt::format("{} at {}: {}", to_string(peer_->corelet), context_.address.to_string(),
                           reason.to_string());
    });
    Error const shown{reason.code == Code::kClosed ? Code::kClosed : Code::kReset, reason.injected, 0,
                      reason.message};
    node_.events.peer_disconnected(*peer_, context_, shown);
}

// ---- requests in

bool Session::is_full() const {
    const RpcLimits& limits = node_.options.limits;
    return requests_ >= limits.session_requests || bytes_ >= limits.session_bytes;
}

Task<Error> Session::read_loop() {
    for (;;) {
        if (is_full()) {
            ++node_.stats.reads_held;
            while (is_full() && state_ == State::kUp) co_await room_.wait();
        }
        Result<std::optional<Frame>> next = stream_.parser.next();
        Result<void> done{};
        if (!next) {
            done = std::unexpected(next.error());
        } else if (*next) {
            done = take(*std::move(*next));
        } else {
            Result<void> const filled = co_await stream_.fill();
            if (!filled) co_return filled.error();
            continue;
        }
        if (done) continue;
        if (done.error().code != Code::kCorrupt) co_return done.error();  // they hung up on us, with a reason
        ++node_.stats.malformed;
        log_warning(node_.env.log, "wire.malformed", [&] {
            return fmt::format("connection from {} closed: {}", context_.address.to_string(), done.error().message);
        });
        co_return done.error();
    }
}

Result<void> Session::take(Frame frame) {
    switch (frame.header.kind) {
        case FrameKind::kRequest:
        case FrameKind::kOneWay:
            return take_request(std::move(frame));
        case FrameKind::kCancel:
            take_cancel(frame.correlation);
            return {};
        case FrameKind::kHello:
            if (frame.header.failure)
                return std::unexpected(with_context(*frame.header.failure, "closed by the other side"));
            break;
        case FrameKind::kResponse:
            break;
    }
    return fail(Code::kCorrupt, "a frame that no caller sends");
}

Result<void> Session::take_request(Frame frame) {
    const FrameHeader& header = frame.header;
    node_.epoch_shown(peer_->corelet, &peer_epoch_, header.map_epoch);
    if (state_ != State::kUp) return {};
    const HandlerEntry* const handler = node_.dispatcher.find(header.method);
    bool const unchecked = !handler || handler->options.checks_payload || frame.payload.empty();
    if (!unchecked && !frame.payload_verifies()) return fail(Code::kCorrupt, "payload checksum does not match");
    ++node_.stats.requests;
    ServerCall& call = node_.dispatcher.acquire(*this);
    call.correlation = frame.correlation;
    call.traffic = header.traffic;
    call.silent = header.kind == FrameKind::kOneWay;
    call.cost_bytes = frame.body.size() + frame.payload.size() + header.reply_bytes_expected;
    ++requests_;
    bytes_ += call.cost_bytes;
    Duration const left{i64{header.deadline_ms} * 1'000'000};
    Request& request = call.request;
    request.from = peer_;
    request.vouched_for = context_.credentials && node_.options.own_uid;  // judged when it connected
    request.method = header.method;
    request.traffic = header.traffic;
    request.deadline = node_.now() + std::min(left, node_.options.limits.timeout_max);
    request.map_epoch = header.map_epoch;
    request.body = std::move(frame.body);
    request.payload_crc = header.payload_crc;
    request.payload.append(std::move(frame.payload));
    node_.dispatcher.submit(call);
    return {};
}

void Session::take_cancel(u64 correlation) {
    ++node_.stats.cancels_received;
    ServerCall* found = nullptr;
    calls.for_each([&](ServerCall::OriginLink& link) {
        if (link.call->correlation == correlation && !link.call->silent) found = link.call;
    });
    if (found) node_.dispatcher.cancel(*found);
}

// ---- replies out

void Session::reply(ServerCall& call) {
    CORELET_ASSERT(call.result.has_value());
    const RpcLimits& limits = node_.options.limits;
    if (*call.result && ((*call.result)->payload.size() > limits.payload_bytes ||
                         (*call.result)->body.size() > limits.header_bytes - k_header_slack_bytes)) {
        log_warning(node_.env.log, "wire.reply_too_large",
                    [&] { return fmt::format("reply of {} bytes", (*call.result)->payload.size()); });
        call.result.emplace(fail(Code::kInvalid, "the reply is larger than a frame may be"));
    }
    u64 const size = *call.result ? (*call.result)->body.size() + (*call.result)->payload.size() : 0;
    bytes_ += size - call.cost_bytes;
    call.cost_bytes = size;
    reply_bytes_ += size;
    ++reply_count_;
    replies_[class_index(call.traffic)].push_back(call);
    work_.notify_one();
}

// Its reply is being written, or nobody wants one any more.
void Session::released(ServerCall& call) {
    CORELET_ASSERT(requests_ > 0);
    --requests_;
    if (call.state == ServerCall::State::kReplying && call.result) {
        --reply_count_;
        reply_bytes_ -= call.cost_bytes;
    }
    bytes_ -= call.cost_bytes;
    relieve();
}

// There may be room again.
void Session::relieve() {
    if (!is_full()) room_.notify_all();
    if (!parked.empty() && !holds_back()) node_.dispatcher.resume(*this);
}

bool Session::holds_back() const {
    return reply_bytes_ + writing_bytes_ >= node_.options.limits.session_bytes / 2;
}

Task<void> Session::write_loop() {
    for (;;) {
        while (reply_count_ == 0) co_await work_.wait();
        // Replies of this turn go together; the turn lasts while requests that have come are still being begun.
        u32 rounds = 0;
        do {
            co_await yield();
        } while (node_.dispatcher.is_starting() && reply_count_ < k_gather_replies && ++rounds < k_gather_rounds);
        if (reply_count_ == 0 || state_ != State::kUp) continue;
        fill_batch();
        Result<void> const done = co_await stream_.flush();
        if (!done) {
            break_off(with_context(done.error(), "writing"));
            co_return;
        }
        written();
    }
}

void Session::fill_batch() {
    usize const limit = node_.options.limits.batch_bytes;
    for (auto& list : replies_) {
        while (!list.empty() && stream_.encoder.bytes() < limit) {
            u64 const next = list.front().cost_bytes;
            if (stream_.encoder.bytes() != 0 && stream_.encoder.bytes() + next > 2 * limit) return;
            encode(list.pop_front());
        }
    }
}

void Session::encode(ServerCall& call) {
    FrameHeader header;
    header.kind = FrameKind::kResponse;
    header.method = call.request.method;
    header.traffic = call.traffic;
    header.map_epoch = node_.map_epoch;
    Result<Reply>& result = *call.result;
    if (result) {
        stream_.encoder.add(call.correlation, header, result->body, result->payload, result->payload_crc);
    } else {
        header.failure = std::move(result.error());
        stream_.encoder.add(call.correlation, header, {}, {}, {});
    }
    ++node_.stats.frames_sent;
    // Its bytes count until they are written.
    writing_bytes_ += call.cost_bytes;
    bytes_ += call.cost_bytes;
    node_.dispatcher.release(call);
}

void Session::written() {
    bytes_ -= std::exchange(writing_bytes_, 0);
    relieve();
}

}  // namespace corelet
