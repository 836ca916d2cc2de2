// The executor of one corelet: a queue of suspended coroutines that are ready to go on, run one after the other on
// one thread. Nothing above it locks. Who drives it (an event loop, or the simulator) calls run_ready().
//
// Coroutines are resumed from a trampoline: awaiting a task or finishing one hands the next handle to the loop
// instead of nesting a call, so that chains of any depth use constant stack.
#pragma once

#include <coroutine>
#include <functional>
#include <source_location>
#include <string>

#include "base/intrusive_list.h"
#include "base/types.h"

namespace corelet {

class Executor;
class Scope;
class RootFrame;

// What every coroutine of ours knows: where it runs, who awaits it, and where it is suspended (for backtraces).
struct PromiseBase {
    Executor* executor = nullptr;
    RootFrame* root = nullptr;
    PromiseBase* child = nullptr;  // the task it awaits now, if that is one of ours
    std::coroutine_handle<> continuation;
    PromiseBase* continuation_promise = nullptr;
    std::source_location where;  // of the last await

    static void* operator new(usize size);
    static void operator delete(void* memory, usize size) noexcept;
};

// One suspended coroutine, in a wait list of whatever it waits for or in the ready queue. Lives in the awaiter,
// hence in the coroutine's frame: when the frame is dropped it leaves its list by itself.
class Waiter : public ListNode {
  public:
    // Call in await_suspend.
    void suspend(std::coroutine_handle<> handle, PromiseBase& promise) {
        handle_ = handle;
        promise_ = &promise;
    }
    // Leaves its wait list and joins the ready queue. It must be suspended.
    void make_ready();
    [[nodiscard]] Executor& executor() const { return *promise_->executor; }

  private:
    friend class Executor;
    std::coroutine_handle<> handle_;
    PromiseBase* promise_ = nullptr;
};

class Executor {
  public:
    Executor() = default;
    ~Executor();
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;

    void make_ready(Waiter& waiter);
    [[nodiscard]] bool has_ready() const { return !ready_.empty(); }
    // Resumes up to `limit` ready coroutines; those made ready meanwhile count too. Returns how many it resumed.
    usize run_ready(usize limit = SIZE_MAX);

    // Simulation: given the number of candidates (at most 16), says which of them goes next.
    void set_picker(std::function<usize(usize)> picker) { picker_ = std::move(picker); }
    // Called when the first waiter becomes ready while the executor is not running, so that its driver can schedule
    // it.
    void set_wakeup(std::function<void()> wakeup) { wakeup_ = std::move(wakeup); }

    // All live tasks, each with the chain of places where it is suspended: what hangs, and on what.
    [[nodiscard]] std::string backtrace() const;
    [[nodiscard]] usize live_tasks() const { return live_tasks_; }
    [[nodiscard]] u64 resumptions() const { return resumptions_; }

    // Trampoline's next step; for task.h only.
    void run_next(std::coroutine_handle<> handle, PromiseBase& promise) {
        next_ = handle;
        next_promise_ = &promise;
    }
    // The root whose coroutine is running right now, if any.
    [[nodiscard]] RootFrame* running_root() const { return running_ ? running_->root : nullptr; }
    [[nodiscard]] bool is_running() const { return running_ != nullptr; }

  private:
    friend class RootFrame;
    friend class Scope;
    void resume(std::coroutine_handle<> handle, PromiseBase* promise);
    void bury();

    IntrusiveList<Waiter> ready_;
    std::coroutine_handle<> next_;
    PromiseBase* next_promise_ = nullptr;
    PromiseBase* running_ = nullptr;
    std::function<usize(usize)> picker_;
    std::function<void()> wakeup_;
    IntrusiveList<RootFrame> roots_;
    RootFrame* doomed_ = nullptr;  // dropped itself while running; destroyed when it suspends
    usize live_tasks_ = 0;
    u64 resumptions_ = 0;
};

}  // namespace corelet
