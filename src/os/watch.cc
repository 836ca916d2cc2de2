#include "os/watch.h"

#include "os/reactor.h"
#include "rt/sync.h"

namespace corelet::os {

void Watch::wait(Waiter& waiter, Direction direction) {
    auto& waiters = waiters_[static_cast<usize>(direction)];
    CORELET_ASSERT(waiters.empty(), "one task at a time waits for a direction of a descriptor");
    streak_ = 0;
    waiters.push_back(waiter);
    reactor_.arm(*this, direction);
}

void Watch::wake(Direction direction) {
    // Also when nobody waits: an edge-triggered engine reports data once.
    if (direction == Direction::kRead) drained_ = false;
    wake_all(waiters_[static_cast<usize>(direction)]);
}

void Watch::close() {
    if (closed_) return;
    closed_ = true;
    wake(Direction::kRead);
    wake(Direction::kWrite);
    reactor_.forget(*this);
}

}  // namespace corelet::os
