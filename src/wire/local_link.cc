#include "wire/local_link.h"

#include <fmt/format.h>

#include "wire/node.h"

namespace corelet {

LocalLink::LocalLink(RpcNode::Impl& from, RpcNode::Impl& to, std::shared_ptr<const Hello> caller, Hello peer)
    : from_(from),
      to_(&to),
      caller_(std::move(caller)),
      peer_(peer),
      epoch_shown_there_(caller_->map_epoch),
      epoch_shown_here_(peer.map_epoch) {
    to_->local_callers.push_back(*this);
}

LocalLink::~LocalLink() {
    break_off(Error{Code::kShutdown, false, 0, "the node is stopping"});
}

void LocalLink::target_gone() {
    CORELET_ASSERT(to_ != nullptr);
    break_off(Error{Code::kReset, false, 0, fmt::format("corelet {} has stopped", to_string(peer_.corelet))});
    unlink();
    to_ = nullptr;
}

void LocalLink::break_off(const Error& reason) {
    queue_.fail_all(reason);
    if (!to_) return;
    calls.for_each([&](ServerCall::OriginLink& link) {
        PendingCall* const call = std::exchange(link.call->local, nullptr);
        if (!call) return;
        call->local = nullptr;
        call->finish(std::unexpected(reason));
    });
    to_->dispatcher.abandon(*this);
}

void LocalLink::submit(PendingCall& call) {
    if (!to_) {
        call.finish(fail(Code::kReset, fmt::format("corelet {} has stopped", to_string(peer_.corelet))));
        return;
    }
    from_.stats.timeouts += queue_.fail_late(from_.now());
    if (queue_.size() >= from_.options.limits.calls_waiting) {
        call.finish(
            fail(Code::kOverloaded, fmt::format("{} calls wait for {}", queue_.size(), to_string(peer_.corelet))));
        return;
    }
    call.path = this;
    queue_.push(call);
    admit();
}

void LocalLink::withdraw(PendingCall& call, bool timed_out) {
    call.path = nullptr;
    if (timed_out) ++from_.stats.timeouts;
    if (call.queued) {
        queue_.remove(call);
        return;
    }
    ServerCall* const served = std::exchange(call.local, nullptr);
    if (!served) return;
    served->local = nullptr;
    ++to_->stats.cancels_received;
    to_->dispatcher.cancel(*served);
}

bool LocalLink::is_full() const {
    const RpcLimits& limits = to_->options.limits;
    return requests_ >= limits.session_requests || bytes_ >= limits.session_bytes;
}

void LocalLink::admit() {
    while (to_) {
        from_.stats.timeouts += queue_.fail_late(from_.now());
        if (queue_.empty() || is_full()) return;
        hand_over(queue_.pop());
    }
}

void LocalLink::hand_over(PendingCall& call) {
    ServerCall& served = to_->dispatcher.acquire(*this);
    served.traffic = call.options.traffic;
    served.silent = call.kind == FrameKind::kOneWay;
    served.cost_bytes = call.cost_bytes;
    ++requests_;
    bytes_ += served.cost_bytes;
    ++to_->stats.requests;
    Request& request = served.request;
    request.from = caller_;
    request.vouched_for = true;
    request.method = call.method;
    request.traffic = call.options.traffic;
    // The two may have clocks of their own.
    Duration const left = std::max(call.deadline - from_.now(), Duration{});
    request.deadline = to_->now() + std::min(left, to_->options.limits.timeout_max);
    request.map_epoch = from_.map_epoch;
    request.body = std::move(call.body);
    request.payload_crc = call.options.payload_crc;
    request.payload = std::move(call.payload);
    request.is_local = true;
    if (served.silent) {
        call.finish(Reply{});
    } else {
        served.local = &call;
        call.local = &served;
    }
    to_->dispatcher.submit(served);
    to_->epoch_shown(caller_->corelet, &epoch_shown_there_, from_.map_epoch);
}

void LocalLink::reply(ServerCall& call) {
    PendingCall* const caller = std::exchange(call.local, nullptr);
    Result<Reply> result = *std::move(call.result);
    MapEpoch const epoch = to_->map_epoch;
    to_->dispatcher.release(call);
    if (!caller) return;
    caller->local = nullptr;
    if (result) result->map_epoch = epoch;
    caller->finish(std::move(result));
    from_.epoch_shown(peer_.corelet, &epoch_shown_here_, epoch);
}

void LocalLink::released(ServerCall& call) {
    CORELET_ASSERT(requests_ > 0 && !call.local);
    --requests_;
    bytes_ -= call.cost_bytes;
    admit();
}

}  // namespace corelet
