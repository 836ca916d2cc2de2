#include "sim/connect.h"

namespace corelet::sim {

ConnectAttempt::ConnectAttempt(Fabric& fabric, std::shared_ptr<Process> process, Fabric::Target target,
                               Address address)
    : fabric_(fabric), process_(std::move(process)), target_(std::move(target)), address_(std::move(address)) {}

ConnectAttempt::~ConnectAttempt() {
    // Dropped half-way: the kernel resets what the other side thinks it has.
    if (stream_) stream_->release(0);
}

void ConnectAttempt::begin() {
    begun_ = fabric_.engine.now();
    fabric_.engine.queue.schedule_in(*this, fabric_.draw_latency(process_->node, target_.node));
}

void ConnectAttempt::fire() {
    if (stage_ == Stage::kRequest) {
        request_arrives();
    } else {
        reply_arrives();
    }
}

void ConnectAttempt::request_arrives() {
    if (!fabric_.passes(process_->node, target_.node) || fabric_.is_lost(target_.key)) return try_again();
    auto const bound = fabric_.listeners.find(target_.key);
    ListenerState* const listener = bound == fabric_.listeners.end() ? nullptr : bound->second.get();
    bool const reachable = listener != nullptr && listener->process != nullptr &&
                           (!listener->loopback || process_->machine == target_.key.machine);
    if (!reachable) {
        refused_ = true;
    } else if (listener->backlog.size() >= fabric_.model.backlog) {
        return try_again();
    } else {
        Address own = address_;
        if (own.kind == Address::Kind::kTcp) {
            own = Address::tcp(target_.loopback ? address_.host : fabric_.node_name(process_->node),
                               fabric_.take_port(process_->machine));
        }
        stream_ = std::make_shared<Stream>(fabric_, fabric_.next_stream_id++,
                                           std::array{process_, listener->process}, std::array{own, address_});
        listener->backlog.push_back(stream_);
        listener->acceptors.notify_one();
    }
    stage_ = Stage::kReply;
    fabric_.engine.queue.schedule_in(*this, fabric_.draw_latency(target_.node, process_->node));
}

void ConnectAttempt::reply_arrives() {
    if (!fabric_.passes(target_.node, process_->node) || fabric_.is_lost(target_.key)) {
        // A refusal is not repeated by itself; the request is.
        if (refused_) stage_ = Stage::kRequest;
        return try_again();
    }
    fabric_.engine.trace.record(TraceKind::kConnect, process_->node, stream_ ? stream_->id() : 0, target_.node);
    if (refused_) failed_ = Code::kReset;
    waiter_.make_ready();
}

void ConnectAttempt::try_again() {
    VirtualTime const next = fabric_.engine.now() + next_try_;
    if (next - begun_ > fabric_.model.connect_timeout) {
        failed_ = Code::kTimeout;
        if (stream_) stream_->release(0);
        stream_ = nullptr;
        fabric_.engine.trace.record(TraceKind::kConnect, process_->node, 0, target_.node);
        waiter_.make_ready();
        return;
    }
    next_try_ = next_try_ * 2;
    refused_ = false;
    fabric_.engine.queue.schedule(*this, next);
}

Result<std::shared_ptr<Stream>> ConnectAttempt::await_resume() {
    if (failed_ == Code::kTimeout) return fail(Code::kTimeout, address_.to_string() + " does not answer");
    if (failed_) return fail(Code::kReset, address_.to_string() + " refuses the connection");
    return std::exchange(stream_, nullptr);
}

}  // namespace corelet::sim
