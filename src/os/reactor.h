// The engine under the loop: what talks to the kernel about disk requests and socket readiness. Two exist, io_uring
// and epoll with threads; the loop picks one at start. Made, used and destroyed on one thread.
#pragma once

#include <memory>

#include "base/result.h"
#include "base/time.h"
#include "os/disk_operation.h"
#include "os/watch.h"

namespace corelet::os {

class Inbox;

// How a turn found its events.
enum class TurnEnd : u8 {
    kAtOnce,  // they were there, or none were waited for
    kAwake,   // while spinning
    kAsleep,
};

class Reactor {
  public:
    virtual ~Reactor() = default;
    // For people: "io_uring" or "epoll".
    [[nodiscard]] virtual std::string_view name() const = 0;

    // Hands a request to the kernel, at the latest with the next turn. No order among requests in flight.
    virtual void start(std::shared_ptr<DiskOperation> operation) = 0;
    // Takes a non-blocking descriptor under watch. Errors: kNoSpace, kOverloaded (the kernel's bounds).
    [[nodiscard]] virtual Result<std::shared_ptr<Watch>> watch(Descriptor descriptor) = 0;

    // Submits all that was started, waits up to `timeout` (k_forever: without end) for anything to happen, of that
    // up to `spin` awake, and wakes the tasks concerned. Runs no task itself.
    virtual TurnEnd turn(Duration timeout, Duration spin) = 0;

  protected:
    friend class Watch;
    // Somebody waits for `direction`.
    virtual void arm(Watch& watch, Direction direction) = 0;
    virtual void forget(Watch& watch) = 0;
};

// Errors: kUnsupported or kDenied where the kernel or the container forbids io_uring.
[[nodiscard]] Result<std::unique_ptr<Reactor>> make_uring_reactor();
// Disk requests run on a small pool of threads that report to `inbox`.
[[nodiscard]] Result<std::unique_ptr<Reactor>> make_epoll_reactor(Inbox& inbox);

}  // namespace corelet::os
