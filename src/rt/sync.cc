#include "rt/sync.h"

namespace corelet {

// A waiter of a semaphore with what it asks for. If it is dropped after it was granted and before it ran, the grant
// goes back.
struct Semaphore::Request : ListNode {
    Semaphore& semaphore;
    u64 units;
    bool granted = false;
    Waiter waiter;

    Request(Semaphore& owner, u64 wanted) : semaphore(owner), units(wanted) {}
    ~Request() {
        if (granted) semaphore.release(units);
        // A dropped request at the head may have held back those behind it.
        else if (is_linked()) {
            unlink();
            semaphore.serve();
        }
    }
    [[nodiscard]] bool await_ready() const noexcept { return granted; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        semaphore.requests_.push_back(*this);
    }
    void await_resume() noexcept {}
};

bool Semaphore::try_acquire(u64 units) {
    CORELET_ASSERT(units <= total_, "more than there will ever be");
    if (!requests_.empty() || available_ < units) return false;
    available_ -= units;
    return true;
}

Task<void> Semaphore::acquire(u64 units) {
    if (try_acquire(units)) co_return;
    Request request(*this, units);
    co_await request;
    CORELET_ASSERT(request.granted);
    request.granted = false;  // the caller's now
}

void Semaphore::serve() {
    while (!requests_.empty() && requests_.front().units <= available_) {
        Request& request = requests_.pop_front();
        available_ -= request.units;
        request.granted = true;
        request.waiter.make_ready();
    }
}

void Semaphore::release(u64 units) {
    available_ += units;
    CORELET_ASSERT(available_ <= total_, "released more than was taken");
    serve();
}

Task<Permit> acquire_permit(Semaphore& semaphore, u64 units) {
    co_await semaphore.acquire(units);
    co_return Permit(semaphore, units);
}

}  // namespace corelet
