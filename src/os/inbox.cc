#include "os/inbox.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "os/errors.h"

namespace corelet::os {

Result<std::unique_ptr<Inbox>> Inbox::create() {
    Descriptor event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!event.valid()) return fail_errno(errno, "making an eventfd");
    return std::unique_ptr<Inbox>(new Inbox(std::move(event)));
}

void Inbox::wake() {
    u64 const one = 1;
    // Fails only when the counter is full, and then it is readable anyway.
    [[maybe_unused]] ssize_t const written = ::write(event_.get(), &one, sizeof one);
}

void Inbox::post(std::move_only_function<void()> work) {
    bool first = false;
    {
        std::lock_guard const lock(mutex_);
        first = posted_.empty();
        posted_.push_back(std::move(work));
    }
    if (first) wake();
}

void Inbox::drain() {
    u64 count = 0;
    // Before the list is taken: what is posted afterwards makes it readable again.
    [[maybe_unused]] ssize_t const got = ::read(event_.get(), &count, sizeof count);
    std::vector<std::move_only_function<void()>> work;
    {
        std::lock_guard const lock(mutex_);
        work.swap(posted_);
    }
    for (auto& item : work) item();
}

}  // namespace corelet::os
