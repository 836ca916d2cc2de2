#include "os/signals.h"

#include <sys/signalfd.h>

#include <cerrno>

#include "os/errors.h"

namespace corelet::os {

Result<std::unique_ptr<Signals>> Signals::create(Loop& loop, std::initializer_list<int> which) {
    sigset_t mask;
    sigset_t before;
    ::sigemptyset(&mask);
    for (int const signal : which) ::sigaddset(&mask, signal);
    ::signal(SIGPIPE, SIG_IGN);
    Descriptor descriptor(::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
    if (!descriptor.valid()) return fail_errno(errno, "making a signalfd");
    TRY(auto watch, loop.reactor().watch(std::move(descriptor)));
    int const failed = ::pthread_sigmask(SIG_BLOCK, &mask, &before);
    CORELET_ASSERT(failed == 0);
    return std::unique_ptr<Signals>(new Signals(std::move(watch), before));
}

Signals::~Signals() {
    watch_->close();
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

Task<int> Signals::next() {
    std::shared_ptr<Watch> const watch = watch_;
    for (;;) {
        signalfd_siginfo info{};
        ssize_t const n = ::read(watch->fd(), &info, sizeof info);
        if (n == sizeof info) co_return static_cast<int>(info.ssi_signo);
        CORELET_ASSERT(errno == EAGAIN || errno == EINTR, "reading signals failed");
        co_await watch->ready(Direction::kRead);
    }
}

}  // namespace corelet::os
