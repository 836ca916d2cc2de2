#include "os/epoll_reactor.h"

#include <sys/epoll.h>

#include <cerrno>
#include <ctime>

#include "os/clock.h"
#include "os/errors.h"
#include "os/inbox.h"

namespace corelet::os {

namespace {

constexpr int k_events_max = 256;

int wait_coarsely(int epoll, epoll_event* events, Duration timeout) {
    // Rounded up: a timer must not wake the loop before it is due, again and again.
    i64 const ms = timeout < k_forever ? std::min<i64>((timeout.ns + 999'999) / 1'000'000, 1 << 30) : -1;
    return ::epoll_wait(epoll, events, k_events_max, static_cast<int>(ms));
}

}  // namespace

Result<std::unique_ptr<Reactor>> make_epoll_reactor(Inbox& inbox) {
    Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll.valid()) return fail_errno(errno, "setting up epoll");
    return std::make_unique<EpollReactor>(std::move(epoll), inbox);
}

void EpollReactor::start(std::shared_ptr<DiskOperation> operation) {
    CORELET_ASSERT(operation->fd >= 0);
    disk_threads_.run([this, operation = std::move(operation)]() mutable {
        i64 const result = perform_blocking(*operation);
        // The loop's thread gets the last reference too: waiters and buffers are its own.
        inbox_.post([operation = std::move(operation), result] { operation->finish(result); });
    });
}

Result<std::shared_ptr<Watch>> EpollReactor::watch(Descriptor descriptor) {
    auto watch = std::make_shared<Watch>(*this, std::move(descriptor));
    if (!control(EPOLL_CTL_ADD, *watch, 0)) return fail_errno(errno, "watching a descriptor");
    return watch;
}

bool EpollReactor::control(int operation, Watch& watch, u32 more_events) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLRDHUP | EPOLLET | more_events;
    event.data.ptr = &watch;
    return ::epoll_ctl(epoll_.get(), operation, watch.fd(), &event) == 0;
}

// Reading is always armed; writing only while somebody waits for it, else each read of the peer would wake us.
void EpollReactor::arm(Watch& watch, Direction direction) {
    if (direction == Direction::kRead) return;
    bool const armed = control(EPOLL_CTL_MOD, watch, EPOLLOUT);
    CORELET_ASSERT(armed, "a watched descriptor was closed behind the reactor's back");
}

void EpollReactor::wake_writer(Watch& watch) {
    watch.wake(Direction::kWrite);
    bool const disarmed = control(EPOLL_CTL_MOD, watch, 0);
    CORELET_ASSERT(disarmed, "a watched descriptor was closed behind the reactor's back");
}

void EpollReactor::forget(Watch& watch) {
    int const failed = ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch.fd(), nullptr);
    CORELET_ASSERT(failed == 0, "a watched descriptor was closed behind the reactor's back");
}

bool EpollReactor::poll(Duration timeout) {
    std::array<epoll_event, k_events_max> events;
    int count = -1;
    if (has_fine_wait_) {
        timespec const limit{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000};
        count = ::epoll_pwait2(epoll_.get(), events.data(), k_events_max, timeout < k_forever ? &limit : nullptr,
                               nullptr);
        if (count < 0 && (errno == ENOSYS || errno == EPERM)) has_fine_wait_ = false;
    }
    if (!has_fine_wait_) count = wait_coarsely(epoll_.get(), events.data(), timeout);
    CORELET_ASSERT(count >= 0 || errno == EINTR, "epoll_wait failed");
    static constexpr u32 k_over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;
    for (int i = 0; i < count; ++i) {
        auto* const watch = static_cast<Watch*>(events[static_cast<usize>(i)].data.ptr);
        u32 const what = events[static_cast<usize>(i)].events;
        // The end of a stream is reported once, possibly together with data before it.
        if (what & k_over) watch->hung_up_ = true;
        if (what & (EPOLLIN | k_over)) watch->wake(Direction::kRead);
        if (what & EPOLLOUT) {
            wake_writer(*watch);
        } else if (what & k_over) {
            watch->wake(Direction::kWrite);
        }
    }
    return count > 0;
}

TurnEnd EpollReactor::turn(Duration timeout, Duration spin) {
    bool const may_wait = timeout.ns > 0;
    if (!may_wait || spin.ns > 0) {
        if (poll(Duration{0}) || !may_wait) return TurnEnd::kAtOnce;
        i64 const until = awake_ns() + std::min(spin, timeout).ns;
        do {
            if (poll(Duration{0})) return TurnEnd::kAwake;
        } while (awake_ns() < until);
    }
    poll(timeout);
    return TurnEnd::kAsleep;
}

}  // namespace corelet::os
