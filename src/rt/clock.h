// The corelet's clock and its timers. Monotonic time counts suspend (CLOCK_BOOTTIME) and is the only one that
// decides anything; wall time is for people. In the simulator both are virtual, skewed and drifting per corelet.
#pragma once

#include <vector>

#include "base/time.h"
#include "rt/task.h"

namespace corelet {

class Clock;

// Fires once, on the executor's thread, at or after its instant. Destroying or disarming it keeps it from firing.
class Timer {
  public:
    Timer() = default;
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    virtual ~Timer() { disarm(); }
    void disarm();
    [[nodiscard]] bool is_armed() const { return clock_ != nullptr; }
    [[nodiscard]] Instant when() const { return when_; }

  protected:
    virtual void fire() = 0;

  private:
    friend class TimerHeap;
    friend class Clock;
    Clock* clock_ = nullptr;
    Instant when_;
    u64 order_ = 0;  // among equals, first armed fires first
    usize heap_index_ = 0;
};

// Binary heap of armed timers; what implementations of Clock keep.
class TimerHeap {
  public:
    ~TimerHeap();
    void insert(Timer& timer);
    void remove(Timer& timer);
    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] Instant earliest() const { return heap_.front()->when_; }
    [[nodiscard]] usize size() const { return heap_.size(); }
    // Fires all that are due at `now`, in order. Timers armed meanwhile fire in a later call unless already due.
    usize fire_due(Instant now);

  private:
    [[nodiscard]] bool before(const Timer& a, const Timer& b) const {
        return a.when_ != b.when_ ? a.when_ < b.when_ : a.order_ < b.order_;
    }
    void sift_up(usize index);
    void sift_down(usize index);
    void place(usize index, Timer* timer);
    std::vector<Timer*> heap_;
    u64 next_order_ = 1;
};

class Clock {
  public:
    virtual ~Clock() = default;
    [[nodiscard]] virtual Instant now() const = 0;
    [[nodiscard]] virtual WallTime wall_now() const = 0;
    void arm(Timer& timer, Instant when);

    struct SleepAwaiter;
    // co_await clock.sleep(d) / sleep_until(t). At least that long; no promise how much longer.
    [[nodiscard]] SleepAwaiter sleep(Duration duration);
    [[nodiscard]] SleepAwaiter sleep_until(Instant when);

  protected:
    friend class Timer;
    // The instant at which a timer armed for `when` shall fire: that or a later one.
    [[nodiscard]] virtual Instant settled(Instant when) const { return when; }
    virtual void insert_timer(Timer& timer) = 0;
    virtual void remove_timer(Timer& timer) = 0;
};

// A Timer that makes one waiter ready.
class WakeTimer final : public Timer {
  public:
    explicit WakeTimer(Waiter& waiter) : waiter_(waiter) {}
    [[nodiscard]] bool fired() const { return fired_; }

  private:
    void fire() override {
        fired_ = true;
        waiter_.make_ready();
    }
    Waiter& waiter_;
    bool fired_ = false;
};

struct Clock::SleepAwaiter {
    Clock& clock;
    Instant when;
    Waiter waiter{};
    WakeTimer timer{waiter};
    [[nodiscard]] bool await_ready() const { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        clock.arm(timer, when);
    }
    void await_resume() const noexcept {}
};

inline Clock::SleepAwaiter Clock::sleep_until(Instant when) {
    return SleepAwaiter{*this, when};
}
inline Clock::SleepAwaiter Clock::sleep(Duration duration) {
    return SleepAwaiter{*this, now() + duration};
}

}  // namespace corelet
