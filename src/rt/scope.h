// A Scope owns tasks that run beside its owner. Destroying or cancelling it drops those still alive, so that no
// task outlives the objects it uses: declare the Scope last, after whatever its tasks refer to.
#pragma once

#include "rt/task.h"

namespace corelet {

class Scope;

// The outermost coroutine of a spawned task.
class RootFrame : public ListNode {
  public:
    struct promise_type;
    void drop();

  private:
    friend class Executor;
    friend class Scope;
    struct ScopeLink : ListNode {
        RootFrame* root = nullptr;
    };
    Executor* executor_ = nullptr;
    Scope* scope_ = nullptr;
    PromiseBase* promise_ = nullptr;
    std::coroutine_handle<> handle_;
    ScopeLink scope_link_;
    Waiter start_;
};

class Scope {
  public:
    explicit Scope(Executor& executor) : executor_(executor) {}
    ~Scope() { cancel(); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

    // Runs `task` beside the caller, beginning in the executor's next turn.
    void spawn(Task<void> task);
    // Drops all tasks now; the one that is running, if it is one of these, when it next suspends.
    void cancel();
    // Waits until no task is left.
    [[nodiscard]] Task<void> join();
    [[nodiscard]] bool empty() const { return count_ == 0; }
    [[nodiscard]] usize size() const { return count_; }
    [[nodiscard]] Executor& executor() const { return executor_; }

  private:
    friend class RootFrame;
    void left();
    Executor& executor_;
    IntrusiveList<RootFrame::ScopeLink> tasks_;
    IntrusiveList<Waiter> joiners_;
    usize count_ = 0;
};

}  // namespace corelet
