// What tasks of one executor wait on: events, completions, semaphores, mutexes, bounded channels. All are used from
// one thread; waiting costs no allocation; a waiter that is dropped just leaves. Waiters are served first come,
// first served. Objects must outlive their waiters (a Scope that holds those is declared after them).
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "rt/clock.h"
#include "rt/task.h"

namespace corelet {

// Waits in a list, until made ready or (if a deadline is given) until the clock says so.
struct WaitAwaiter {
    IntrusiveList<Waiter>& list;
    bool ready = false;
    Clock* clock = nullptr;
    Instant deadline{};
    Waiter waiter{};
    WakeTimer timer{waiter};
    [[nodiscard]] bool await_ready() const noexcept { return ready; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        list.push_back(waiter);
        if (clock) clock->arm(timer, deadline);
    }
    // False when the deadline came first.
    bool await_resume() {
        timer.disarm();
        return !timer.fired();
    }
};

// Wakes all of a list.
inline void wake_all(IntrusiveList<Waiter>& list) {
    list.for_each([](Waiter& waiter) { waiter.make_ready(); });
}
inline void wake_one(IntrusiveList<Waiter>& list) {
    if (!list.empty()) list.front().make_ready();
}

// Once set, stays set until reset.
class Event {
  public:
    void set() {
        set_ = true;
        wake_all(waiters_);
    }
    void reset() { set_ = false; }
    [[nodiscard]] bool is_set() const { return set_; }
    [[nodiscard]] WaitAwaiter wait() { return WaitAwaiter{waiters_, set_}; }
    // True if it was set in time.
    [[nodiscard]] WaitAwaiter wait_until(Clock& clock, Instant deadline) {
        return WaitAwaiter{waiters_, set_, &clock, deadline};
    }

  private:
    bool set_ = false;
    IntrusiveList<Waiter> waiters_;
};

// A condition to re-check: waits until the next notification. Use in a loop over the condition.
class Notify {
  public:
    void notify_all() { wake_all(waiters_); }
    void notify_one() { wake_one(waiters_); }
    [[nodiscard]] bool has_waiters() const { return !waiters_.empty(); }
    [[nodiscard]] WaitAwaiter wait() { return WaitAwaiter{waiters_}; }
    [[nodiscard]] WaitAwaiter wait_until(Clock& clock, Instant deadline) {
        return WaitAwaiter{waiters_, false, &clock, deadline};
    }

  private:
    IntrusiveList<Waiter> waiters_;
};

// A value that one side completes once and the other awaits. Usually shared (std::shared_ptr) between the two, so
// that either may go away first.
template <class T>
class Completion {
  public:
    // The first completion counts; later ones are ignored (a late answer).
    bool complete(T value) {
        if (value_) return false;
        value_.emplace(std::move(value));
        event_.set();
        return true;
    }
    [[nodiscard]] bool is_complete() const { return value_.has_value(); }
    // For one awaiting task.
    [[nodiscard]] Task<T> wait() {
        co_await event_.wait();
        co_return *std::move(value_);
    }
    // Empty when the deadline came first.
    [[nodiscard]] Task<std::optional<T>> wait_until(Clock& clock, Instant deadline) {
        co_await event_.wait_until(clock, deadline);
        co_return std::exchange(value_, std::nullopt);
    }

  private:
    std::optional<T> value_;
    Event event_;
};

// Counts units of a bounded resource (bytes in flight, slots of a queue). Strictly in order of arrival: a large
// request at the head is not starved by small ones behind it.
class Semaphore {
  public:
    explicit Semaphore(u64 units) : available_(units), total_(units) {}
    // Waits until `units` (at most the total) are available and takes them. Give them back by release() or Permit.
    [[nodiscard]] Task<void> acquire(u64 units);
    [[nodiscard]] bool try_acquire(u64 units);
    void release(u64 units);
    [[nodiscard]] u64 available() const { return available_; }
    [[nodiscard]] u64 total() const { return total_; }

  private:
    struct Request;
    void serve();
    u64 available_;
    u64 total_;
    IntrusiveList<Request> requests_;
};

// Releases on destruction.
class Permit {
  public:
    Permit() = default;
    Permit(Semaphore& semaphore, u64 units) : semaphore_(&semaphore), units_(units) {}
    Permit(Permit&& other) noexcept
        : semaphore_(std::exchange(other.semaphore_, nullptr)), units_(std::exchange(other.units_, 0)) {}
    Permit& operator=(Permit other) noexcept {
        std::swap(semaphore_, other.semaphore_);
        std::swap(units_, other.units_);
        return *this;
    }
    ~Permit() {
        if (semaphore_) semaphore_->release(units_);
    }

  private:
    Semaphore* semaphore_ = nullptr;
    u64 units_ = 0;
};
[[nodiscard]] Task<Permit> acquire_permit(Semaphore& semaphore, u64 units);

// Mutual exclusion across awaits: `Permit lock = co_await mutex.lock();`
class Mutex {
  public:
    [[nodiscard]] Task<Permit> lock() { return acquire_permit(semaphore_, 1); }
    [[nodiscard]] bool is_locked() const { return semaphore_.available() == 0; }

  private:
    Semaphore semaphore_{1};
};

// A bounded queue between tasks. send() waits while it is full, recv() while it is empty. After close(), sends fail
// and receives drain what is left, then give nothing.
template <class T>
class Channel {
  public:
    explicit Channel(usize capacity) : capacity_(capacity) { CORELET_ASSERT(capacity > 0); }
    [[nodiscard]] bool try_send(T item) {
        if (closed_ || items_.size() >= capacity_) return false;
        items_.push_back(std::move(item));
        receivers_.notify_one();
        return true;
    }
    [[nodiscard]] Task<bool> send(T item) {
        while (!closed_ && items_.size() >= capacity_) co_await senders_.wait();
        if (closed_) co_return false;
        items_.push_back(std::move(item));
        receivers_.notify_one();
        co_return true;
    }
    [[nodiscard]] std::optional<T> try_recv() {
        if (items_.empty()) return std::nullopt;
        std::optional<T> item(std::move(items_.front()));
        items_.pop_front();
        senders_.notify_one();
        // A wake-up may have gone to a receiver that was dropped: pass it on.
        if (!items_.empty()) receivers_.notify_one();
        return item;
    }
    [[nodiscard]] Task<std::optional<T>> recv() {
        while (items_.empty() && !closed_) co_await receivers_.wait();
        co_return try_recv();
    }
    void close() {
        closed_ = true;
        senders_.notify_all();
        receivers_.notify_all();
    }
    [[nodiscard]] bool is_closed() const { return closed_; }
    [[nodiscard]] usize size() const { return items_.size(); }
    [[nodiscard]] bool is_full() const { return items_.size() >= capacity_; }

  private:
    usize capacity_;
    bool closed_ = false;
    std::deque<T> items_;
    Notify senders_;
    Notify receivers_;
};

}  // namespace corelet
