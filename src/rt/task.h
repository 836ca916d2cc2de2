// Task<T>: a lazy coroutine that is awaited by exactly one other, or spawned into a Scope (rt/scope.h).
//
// Starts when awaited. Destroying a Task (or the Scope it lives in) at any of its awaits drops it: its locals are
// destroyed, nothing else happens. That is how cancellation, timeouts and simulated crashes work, so code keeps its
// state consistent at every co_await, and destructors do no I/O.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include "rt/executor.h"

namespace corelet {

template <class T>
class Task;

namespace detail {

struct FinalAwaiter {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) const noexcept {
        PromiseBase& promise = handle.promise();
        promise.continuation_promise->child = nullptr;
        promise.executor->run_next(promise.continuation, *promise.continuation_promise);
    }
    void await_resume() const noexcept {}
};

[[noreturn]] void unhandled_exception();

struct TaskPromiseBase : PromiseBase {
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] FinalAwaiter final_suspend() const noexcept { return {}; }
    void unhandled_exception() { detail::unhandled_exception(); }
    // Remembers where the coroutine waits; costs one store.
    template <class Awaitable>
    Awaitable&& await_transform(Awaitable&& awaitable,
                                std::source_location location = std::source_location::current()) {
        where = location;
        return std::forward<Awaitable>(awaitable);
    }
};

template <class T>
struct TaskPromise : TaskPromiseBase {
    std::optional<T> value;
    Task<T> get_return_object();
    void return_value(T result) { value.emplace(std::move(result)); }
    T take() {
        CORELET_ASSERT(value.has_value(), "task finished without a value");
        return *std::move(value);
    }
};
template <>
struct TaskPromise<void> : TaskPromiseBase {
    Task<void> get_return_object();
    void return_void() {}
    void take() {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
  public:
    using promise_type = detail::TaskPromise<T>;
    using value_type = T;
    Task() = default;
    explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
    Task& operator=(Task other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Task() {
        if (handle_) handle_.destroy();
    }
    [[nodiscard]] bool valid() const { return static_cast<bool>(handle_); }

    struct Awaiter {
        std::coroutine_handle<promise_type> handle;
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> parent) const noexcept {
            PromiseBase& mine = handle.promise();
            PromiseBase& theirs = parent.promise();
            mine.executor = theirs.executor;
            mine.root = theirs.root;
            mine.continuation = parent;
            mine.continuation_promise = &theirs;
            theirs.child = &mine;
            mine.executor->run_next(handle, mine);
        }
        T await_resume() const { return handle.promise().take(); }
    };
    Awaiter operator co_await() const& noexcept {
        CORELET_ASSERT(handle_, "awaiting an empty task");
        return Awaiter{handle_};
    }
    Awaiter operator co_await() && noexcept {
        CORELET_ASSERT(handle_, "awaiting an empty task");
        return Awaiter{handle_};
    }

  private:
    std::coroutine_handle<promise_type> handle_;
};

namespace detail {
template <class T>
Task<T> TaskPromise<T>::get_return_object() {
    return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() {
    return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}
}  // namespace detail

// co_await this_executor(): the executor that runs this coroutine.
struct this_executor {
    Executor* executor = nullptr;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    bool await_suspend(std::coroutine_handle<Promise> handle) noexcept {
        executor = handle.promise().executor;
        return false;
    }
    [[nodiscard]] Executor& await_resume() const noexcept { return *executor; }
};

// co_await yield(): lets everything that is ready now run first.
struct yield {
    Waiter waiter;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        waiter.make_ready();
    }
    void await_resume() const noexcept {}
};

}  // namespace corelet
