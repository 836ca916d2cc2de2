#include "device/io_scheduler.h"

namespace corelet {

// If it is dropped after it was granted and before it ran, the turn goes back.
struct IoScheduler::Request : ListNode {
    IoScheduler& scheduler;
    IoClass io;
    bool granted = false;
    Waiter waiter;

    Request(IoScheduler& owner, IoClass wanted) : scheduler(owner), io(wanted) {}
    ~Request() {
        unlink();
        if (granted) scheduler.leave(io);
    }
    [[nodiscard]] bool await_ready() const noexcept { return granted; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter.suspend(handle, handle.promise());
        scheduler.waiting_[static_cast<usize>(io)].push_back(*this);
    }
    void await_resume() noexcept {}
};

IoTurn::~IoTurn() {
    if (scheduler_) scheduler_->leave(class_);
}

IoScheduler::IoScheduler(u32 depth) : depth_(std::max<u32>(depth, 1)) {
    limits_ = {depth_, healing_most(), std::max<u32>(depth_ / 4, 1)};
}

void IoScheduler::limit_healing(u32 at_once) {
    limits_[static_cast<usize>(IoClass::kHeal)] = std::clamp<u32>(at_once, 1, healing_most());
    serve();
}

void IoScheduler::take(usize io) {
    CORELET_ASSERT(may_enter(io));
    ++held_[io];
    ++total_;
    ++turns_;
}

Task<IoTurn> IoScheduler::enter(IoClass io) {
    usize const index = static_cast<usize>(io);
    if (waiting_[index].empty() && may_enter(index)) {
        take(index);
        co_return IoTurn(*this, io);
    }
    Request request(*this, io);
    co_await request;
    CORELET_ASSERT(request.granted);
    request.granted = false;  // the caller's now
    co_return IoTurn(*this, io);
}

void IoScheduler::leave(IoClass io) {
    usize const index = static_cast<usize>(io);
    CORELET_ASSERT(held_[index] > 0 && total_ > 0);
    --held_[index];
    --total_;
    serve();
}

void IoScheduler::serve() {
    for (;;) {
        bool const fair = turns_ % k_fair_turn == k_fair_turn - 1;
        Request* next = nullptr;
        for (usize step = 0; step < k_io_classes && !next; ++step) {
            usize const io = fair ? k_io_classes - 1 - step : step;
            if (!waiting_[io].empty() && may_enter(io)) next = &waiting_[io].front();
        }
        if (!next) return;
        take(static_cast<usize>(next->io));
        next->unlink();
        next->granted = true;
        next->waiter.make_ready();
    }
}

}  // namespace corelet
