#include "rt/scope.h"

namespace corelet {

struct RootFrame::promise_type : PromiseBase {
    RootFrame frame;

    struct Final {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<promise_type> handle) const noexcept {
            RootFrame& mine = handle.promise().frame;
            Scope* const scope = std::exchange(mine.scope_, nullptr);
            mine.scope_link_.unlink();
            // The scope may belong to what the task itself keeps alive: take leave before the frame goes.
            if (scope) scope->left();
            // A root that was dropped while it ran its last step is buried by the executor, not here.
            if (mine.executor_->doomed_ != &mine) handle.destroy();
        }
        void await_resume() const noexcept {}
    };
    RootFrame* get_return_object() {
        frame.promise_ = this;
        frame.handle_ = std::coroutine_handle<promise_type>::from_promise(*this);
        frame.scope_link_.root = &frame;
        root = &frame;
        return &frame;
    }
    ~promise_type() {
        if (frame.executor_) --frame.executor_->live_tasks_;
    }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] Final final_suspend() const noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { detail::unhandled_exception(); }
};

}  // namespace corelet

template <class... Args>
struct std::coroutine_traits<corelet::RootFrame*, Args...> {
    using promise_type = corelet::RootFrame::promise_type;
};

namespace corelet {

namespace {
RootFrame* run_root(Task<void> task) {
    co_await std::move(task);
}
}  // namespace

void Scope::spawn(Task<void> task) {
    CORELET_ASSERT(task.valid());
    RootFrame* const root = run_root(std::move(task));
    root->executor_ = &executor_;
    root->scope_ = this;
    root->promise_->executor = &executor_;
    executor_.roots_.push_back(*root);
    ++executor_.live_tasks_;
    tasks_.push_back(root->scope_link_);
    ++count_;
    root->start_.suspend(root->handle_, *root->promise_);
    root->start_.make_ready();
}

void RootFrame::drop() {
    scope_ = nullptr;
    scope_link_.unlink();
    if (executor_->running_root() == this) {
        executor_->doomed_ = this;
        return;
    }
    handle_.destroy();
}

void Scope::cancel() {
    while (!tasks_.empty()) {
        --count_;
        tasks_.front().root->drop();
    }
    CORELET_ASSERT(count_ == 0);
    joiners_.for_each([](Waiter& waiter) { waiter.make_ready(); });
}

void Scope::left() {
    CORELET_ASSERT(count_ > 0);
    if (--count_ == 0) joiners_.for_each([](Waiter& waiter) { waiter.make_ready(); });
}

namespace {
struct JoinAwaiter {
    IntrusiveList<Waiter>& joiners;
    bool done;
    Waiter waiter;
    [[nodiscard]] bool await_ready() const noexcept { return done; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        joiners.push_back(waiter);
    }
    void await_resume() const noexcept {}
};
}  // namespace

Task<void> Scope::join() {
    while (count_ != 0) {
        JoinAwaiter awaiter{joiners_, count_ == 0, {}};
        co_await awaiter;
    }
}

}  // namespace corelet
