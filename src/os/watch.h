// A descriptor whose readiness tasks wait for: sockets, eventfd, signalfd. One reader and one writer at a time.
//
// Owned by its connection, by every coroutine that works on it, and by the reactor while the kernel refers to it,
// so that neither side pulls it away from the other; the descriptor is closed with the last of them.
#pragma once

#include <array>
#include <memory>

#include "os/descriptor.h"
#include "rt/executor.h"

namespace corelet::os {

class Reactor;

enum class Direction : u8 { kRead = 0, kWrite = 1 };

class Watch : public ListNode, public std::enable_shared_from_this<Watch> {
  public:
    Watch(Reactor& reactor, Descriptor descriptor) : reactor_(reactor), descriptor_(std::move(descriptor)) {}

    [[nodiscard]] int fd() const { return descriptor_.get(); }
    [[nodiscard]] bool is_closed() const { return closed_; }
    // Wakes all waiters and takes it from the reactor. The descriptor itself goes with the last owner.
    void close();

    struct Awaiter {
        Watch& watch;
        Direction direction;
        Waiter waiter{};
        [[nodiscard]] bool await_ready() const { return watch.closed_; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> handle) {
            waiter.suspend(handle, handle.promise());
            watch.wait(waiter, direction);
        }
        void await_resume() const noexcept {}
    };
    // Waits until it may be ready, or closed here; may wake without reason. Try the system call first: readiness
    // that came before is not reported again by every engine.
    [[nodiscard]] Awaiter ready(Direction direction) { return Awaiter{*this, direction}; }

    // A read that got less than it asked for has emptied the socket: the next one waits at once instead of asking
    // again.
    [[nodiscard]] bool may_have_data() const { return !drained_ || hung_up_; }
    void set_drained(bool drained) { drained_ = drained; }
    // True once in a while: the caller has been served without waiting for long and should let others run.
    [[nodiscard]] bool should_yield() {
        static constexpr u8 k_streak_max = 32;
        if (++streak_ < k_streak_max) return false;
        streak_ = 0;
        return true;
    }

  private:
    friend class UringReactor;
    friend class EpollReactor;
    void wait(Waiter& waiter, Direction direction);
    void wake(Direction direction);

    Reactor& reactor_;
    Descriptor descriptor_;
    std::array<IntrusiveList<Waiter>, 2> waiters_;
    std::array<std::shared_ptr<Watch>, 2> armed_;  // itself, while the kernel holds a poll of it
    bool closed_ = false;
    bool drained_ = false;
    bool hung_up_ = false;
    u8 streak_ = 0;
};

}  // namespace corelet::os
