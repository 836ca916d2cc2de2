// A call as its caller's node holds it, from call() to its end.
#pragma once

#include <array>

#include "rt/frame_pool.h"
#include "rt/sync.h"
#include "wire/frame.h"
#include "wire/rpc.h"

namespace corelet {

struct PendingCall;
class ServerCall;

// What carries calls to one target: a connection, or nothing at all within a process.
class CallPath {
  public:
    virtual ~CallPath() = default;
    // Takes the call in, or finishes it at once with an error.
    virtual void submit(PendingCall& call) = 0;
    // Its caller went away or its deadline passed: whatever was begun for it is undone.
    virtual void withdraw(PendingCall& call, bool timed_out) = 0;
};

// Belongs to the task that awaits it; dropping that task withdraws the call. One that nobody awaits ends itself.
// Linked in a queue of its path until sent.
struct PendingCall : ListNode {
    FrameKind kind = FrameKind::kRequest;  // or kOneWay
    Method method;
    Instant deadline;
    CallOptions options;
    Buffer body;
    BufferChain payload;

    CallPath* path = nullptr;  // null once finished
    bool queued = false;       // waits in path's CallQueue
    bool unattended = false;   // made with new, and deleted as it finishes
    u64 correlation = 0;       // not zero: sent, in the path's table
    Instant sent_at;
    u64 cost_bytes = 0;           // what it counts in the server's bound: request and expected reply
    ServerCall* local = nullptr;  // its other half, where both are in one process

    std::optional<Result<Reply>> result;
    Event done;

    PendingCall() = default;
    PendingCall(const PendingCall&) = delete;
    PendingCall& operator=(const PendingCall&) = delete;
    ~PendingCall() {
        if (path) path->withdraw(*this, false);
    }
    void finish(Result<Reply> outcome) {
        CORELET_ASSERT(!result, "a call finishes once");
        path = nullptr;
        if (unattended) {
            delete this;
            return;
        }
        result.emplace(std::move(outcome));
        done.set();
    }
    // Recycled by size: a call costs no malloc.
    static void* operator new(usize size) { return allocate_frame(size); }
    static void operator delete(void* memory, usize size) noexcept { free_frame(memory, size); }
};

// Waits for the end of a call that was submitted, at most until its deadline.
[[nodiscard]] Task<Result<Reply>> await_reply(std::unique_ptr<PendingCall> call, Clock* clock);

[[nodiscard]] constexpr usize class_index(TrafficClass traffic) {
    return static_cast<usize>(traffic) - 1;
}

// Calls that wait to be sent, first by class, then in order of arrival.
class CallQueue {
  public:
    void push(PendingCall& call) {
        call.queued = true;
        ++size_;
        lists_[class_index(call.options.traffic)].push_back(call);
    }
    [[nodiscard]] bool empty() const { return size_ == 0; }
    [[nodiscard]] usize size() const { return size_; }
    [[nodiscard]] PendingCall& front() { return most_urgent().front(); }
    PendingCall& pop() {
        PendingCall& call = most_urgent().pop_front();
        call.queued = false;
        --size_;
        return call;
    }
    void remove(PendingCall& call) {
        CORELET_ASSERT(call.queued && size_ > 0);
        static_cast<ListNode&>(call).unlink();
        call.queued = false;
        --size_;
    }
    // What stands first in its class and is late is not sent any more; returns how many there were.
    usize fail_late(Instant now) {
        usize late = 0;
        for (auto& list : lists_)
            for (; !list.empty() && list.front().deadline <= now; ++late) {
                PendingCall& call = list.front();
                remove(call);
                call.finish(corelet::fail(Code::kTimeout, "deadline passed before it was sent"));
            }
        return late;
    }
    void fail_all(const Error& reason) {
        while (!empty()) pop().finish(std::unexpected(reason));
    }

  private:
    IntrusiveList<PendingCall>& most_urgent() {
        usize index = 0;
        while (index + 1 < lists_.size() && lists_[index].empty()) ++index;
        return lists_[index];
    }
    std::array<IntrusiveList<PendingCall>, 4> lists_;
    usize size_ = 0;
};

}  // namespace corelet
