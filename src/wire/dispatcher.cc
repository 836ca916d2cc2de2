#include "wire/dispatcher.h"

#include <fmt/format.h>

#include "base/fault_point.h"

namespace corelet {

void ServerCall::DeadlineTimer::fire() {
    call_.dispatcher.expire(call_);
}

void Dispatcher::set_handler(Method method, Handler handler, HandlerOptions options) {
    CORELET_ASSERT(handler, "a handler that is none");
    handlers_[method.v] = std::make_shared<const HandlerEntry>(HandlerEntry{std::move(handler), options});
}

void Dispatcher::remove_handler(Method method) {
    auto const entry = handlers_.find(method.v);
    if (entry == handlers_.end()) return;
    auto const gone = entry->second;
    handlers_.erase(entry);
    ++paused_;
    for (usize i = 0; i < all_.size(); ++i) {
        ServerCall& call = *all_[i];
        if (call.handler != gone || call.state == ServerCall::State::kReplying) continue;
        stop(call);
        answer(call, fail(Code::kShutdown, "its handler is stopping"));
    }
    --paused_;
    start_next();
}

const HandlerEntry* Dispatcher::find(Method method) const {
    auto const entry = handlers_.find(method.v);
    return entry == handlers_.end() ? nullptr : entry->second.get();
}

ServerCall& Dispatcher::acquire(CallOrigin& origin) {
    if (free_.empty()) {
        all_.push_back(std::make_unique<ServerCall>(*this, env_.executor));
        free_.push_back(all_.back().get());
    }
    ServerCall& call = *free_.back();
    free_.pop_back();
    CORELET_ASSERT(call.state == ServerCall::State::kFree && call.scope.empty());
    call.origin = &origin;
    origin.calls.push_back(call.in_origin);
    return call;
}

void Dispatcher::release(ServerCall& call) {
    CORELET_ASSERT(call.state != ServerCall::State::kFree && !shut_down_);
    call.unlink();
    call.in_origin.unlink();
    call.deadline_timer.disarm();
    if (call.origin) std::exchange(call.origin, nullptr)->released(call);
    call.state = ServerCall::State::kFree;
    call.correlation = 0;
    call.local = nullptr;
    call.request = Request{};
    call.silent = false;
    call.cost_bytes = 0;
    call.handler.reset();
    call.result.reset();
    free_.push_back(&call);
}

void Dispatcher::submit(ServerCall& call) {
    CORELET_ASSERT(call.state == ServerCall::State::kFree && call.origin);
    call.state = ServerCall::State::kQueued;
    env_.clock.arm(call.deadline_timer, call.request.deadline);
    enqueue(call);
    start_next();
}

void Dispatcher::enqueue(ServerCall& call) {
    // Behind parked ones of its origin, so that order holds.
    if (!call.origin->parked.empty()) {
        call.origin->parked.push_back(call);
        return;
    }
    queues_[class_index(call.traffic)].push_back(call);
}

void Dispatcher::resume(CallOrigin& origin) {
    // Those parked are older than those of the same origin still in the queues.
    for (auto& queue : queues_) {
        queue.for_each([&origin](ServerCall& call) {
            if (call.origin != &origin) return;
            static_cast<ListNode&>(call).unlink();
            origin.parked.push_back(call);
        });
    }
    while (!origin.parked.empty()) {
        ServerCall& call = origin.parked.pop_front();
        queues_[class_index(call.traffic)].push_back(call);
    }
    start_next();
}

// The next request to begin: the most urgent class that may run more, the earliest in it.
ServerCall* Dispatcher::pick() {
    for (usize index = 0; index < queues_.size(); ++index) {
        while (running_[index] < limits_.running[index] && !queues_[index].empty()) {
            ServerCall& call = queues_[index].pop_front();
            if (!call.origin->holds_back() && call.origin->parked.empty()) return &call;
            call.origin->parked.push_back(call);
        }
    }
    return nullptr;
}

void Dispatcher::start_next() {
    while (!starting_ && paused_ == 0 && !shut_down_) {
        ServerCall* const call = pick();
        if (!call) return;
        auto const entry = handlers_.find(call->request.method.v);
        if (entry == handlers_.end()) {
            answer(*call, fail(Code::kUnsupported, fmt::format("no method {:#06x} here", call->request.method.v)));
            continue;
        }
        call->handler = entry->second;
        call->state = ServerCall::State::kStarting;
        ++running_[class_index(call->traffic)];
        starting_ = call;
        call->scope.spawn(run(call));
    }
}

Task<void> Dispatcher::run(ServerCall* call) {
    CORELET_ASSERT(starting_ == call);
    starting_ = nullptr;
    call->state = ServerCall::State::kRunning;
    start_next();
    Buffer const body = armed_fault_points ? call->request.body : Buffer();
    FaultPoints::Moment moment{
        .method = call->request.method.v, .caller = call->request.from->corelet.v, .request = body.bytes()};
    fault_moment(moment);
    Result<Reply> result = co_await call->handler->function(std::move(call->request));
    moment.is_done = true;
    if (result) moment.payload = &result->payload;
    fault_moment(moment);
    finished(*call, std::move(result));
}

void Dispatcher::finished(ServerCall& call, Result<Reply> result) {
    CORELET_ASSERT(call.state == ServerCall::State::kRunning && running_[class_index(call.traffic)] > 0);
    --running_[class_index(call.traffic)];
    answer(call, std::move(result));
    start_next();
}

void Dispatcher::stop(ServerCall& call) {
    bool const begun = call.state == ServerCall::State::kStarting || call.state == ServerCall::State::kRunning;
    if (!begun) return;
    if (starting_ == &call) starting_ = nullptr;
    --running_[class_index(call.traffic)];
    call.scope.cancel();
}

void Dispatcher::answer(ServerCall& call, Result<Reply> result) {
    call.deadline_timer.disarm();
    call.unlink();
    call.state = ServerCall::State::kReplying;
    if (call.silent || !call.origin) {
        release(call);
        return;
    }
    call.result.emplace(std::move(result));
    call.origin->reply(call);
}

void Dispatcher::cancel(ServerCall& call) {
    if (shut_down_) return;
    CORELET_ASSERT(call.state != ServerCall::State::kFree);
    if (call.state == ServerCall::State::kRunning && call.handler->options.detached) {
        // Runs on, for nobody.
        call.silent = true;
        call.in_origin.unlink();
        if (call.origin) std::exchange(call.origin, nullptr)->released(call);
        return;
    }
    stop(call);
    release(call);
    start_next();
}

void Dispatcher::expire(ServerCall& call) {
    if (call.state == ServerCall::State::kRunning && call.handler->options.detached) return;
    stop(call);
    answer(call, fail(Code::kTimeout, "deadline passed at the server"));
    start_next();
}

void Dispatcher::abandon(CallOrigin& origin) {
    if (shut_down_) return;
    ++paused_;
    while (!origin.calls.empty()) cancel(*origin.calls.front().call);
    CORELET_ASSERT(origin.parked.empty());
    --paused_;
    start_next();
}

void Dispatcher::shut_down() {
    if (std::exchange(shut_down_, true)) return;
    for (usize i = 0; i < all_.size(); ++i) {
        ServerCall& call = *all_[i];
        call.deadline_timer.disarm();
        call.scope.cancel();
        call.unlink();
        call.in_origin.unlink();
    }
}

usize Dispatcher::running() const {
    usize total = 0;
    for (u32 const count : running_) total += count;
    return total;
}

}  // namespace corelet
