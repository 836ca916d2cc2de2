// Hands requests to their handlers: by class when there is a backlog, in order of arrival within a connection and
// class.
//
// One handler is begun at a time: the next one's task is made when the one before has run to its first await.
// Otherwise the executor, which may resume ready tasks in any order, could hand requests over in another order than
// they came.
#pragma once

#include <array>
#include <unordered_map>

#include "rt/env.h"
#include "wire/call.h"

namespace corelet {

class Dispatcher;
class CallOrigin;

struct HandlerEntry {
    Handler function;
    HandlerOptions options;
};

// A request at its server, from arrival until its reply is handed over. Recycled by the dispatcher.
class ServerCall : public ListNode {
  public:
    enum class State : u8 { kFree, kQueued, kStarting, kRunning, kReplying };
    explicit ServerCall(Dispatcher& owner, Executor& executor)
        : dispatcher(owner), in_origin{this}, deadline_timer(*this), scope(executor) {}

    Dispatcher& dispatcher;
    State state = State::kFree;
    CallOrigin* origin = nullptr;  // null: nobody waits any more
    struct OriginLink : ListNode {
        ServerCall* call;
        explicit OriginLink(ServerCall* c) : call(c) {}
    } in_origin;
    u64 correlation = 0;
    PendingCall* local = nullptr;
    Request request;
    TrafficClass traffic = TrafficClass::kClient;
    bool silent = false;  // no reply is wanted
    u64 cost_bytes = 0;   // what it counts in its origin's bound
    std::shared_ptr<const HandlerEntry> handler;
    std::optional<Result<Reply>> result;

    class DeadlineTimer final : public Timer {
      public:
        explicit DeadlineTimer(ServerCall& call) : call_(call) {}

      private:
        void fire() override;
        ServerCall& call_;
    } deadline_timer;
    Scope scope;  // of the handler's task; last, so that it goes first
};

// Where requests come from and replies go to.
class CallOrigin {
  public:
    virtual ~CallOrigin() = default;
    // `call.result` is there. The origin releases the call when it is done with it.
    virtual void reply(ServerCall& call) = 0;
    // The call leaves the origin; its bound has room again.
    virtual void released(ServerCall& call) = 0;
    // Its requests are not begun now (its replies pile up).
    [[nodiscard]] virtual bool holds_back() const = 0;

    IntrusiveList<ServerCall::OriginLink> calls;  // all of this origin
    IntrusiveList<ServerCall> parked;             // those held back, in order
};

class Dispatcher {
  public:
    Dispatcher(Env& env, const RpcLimits& limits) : env_(env), limits_(limits) {}
    ~Dispatcher() { shut_down(); }
    Dispatcher(const Dispatcher&) = delete;
    Dispatcher& operator=(const Dispatcher&) = delete;

    void set_handler(Method method, Handler handler, HandlerOptions options);
    void remove_handler(Method method);
    [[nodiscard]] const HandlerEntry* find(Method method) const;

    // A free call with `origin`, to be filled in and submitted.
    [[nodiscard]] ServerCall& acquire(CallOrigin& origin);
    void submit(ServerCall& call);
    // The caller gave up: the handler's task is dropped unless detached, and no reply is made.
    void cancel(ServerCall& call);
    // Deadline: the same, but answered kTimeout.
    void expire(ServerCall& call);
    void release(ServerCall& call);
    // The origin goes away: all its calls are cancelled; detached ones run on.
    void abandon(CallOrigin& origin);
    // The origin no longer holds back.
    void resume(CallOrigin& origin);
    // Drops everything, makes no replies, begins nothing any more.
    void shut_down();
    [[nodiscard]] usize running() const;
    // A request is about to be begun, and perhaps more behind it.
    [[nodiscard]] bool is_starting() const { return starting_ != nullptr; }

  private:
    void enqueue(ServerCall& call);
    void start_next();
    [[nodiscard]] ServerCall* pick();
    [[nodiscard]] Task<void> run(ServerCall* call);
    void finished(ServerCall& call, Result<Reply> result);
    // Ends the handler's task, if there is one.
    void stop(ServerCall& call);
    void answer(ServerCall& call, Result<Reply> result);

    Env& env_;
    const RpcLimits& limits_;
    std::unordered_map<u16, std::shared_ptr<const HandlerEntry>> handlers_;
    std::vector<std::unique_ptr<ServerCall>> all_;
    std::vector<ServerCall*> free_;
    std::array<IntrusiveList<ServerCall>, 4> queues_;
    std::array<u32, 4> running_{};
    ServerCall* starting_ = nullptr;
    u32 paused_ = 0;
    bool shut_down_ = false;
};

}  // namespace corelet
