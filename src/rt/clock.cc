#include "rt/clock.h"

namespace corelet {

void Timer::disarm() {
    if (!clock_) return;
    Clock* const clock = std::exchange(clock_, nullptr);
    clock->remove_timer(*this);
}

void Clock::arm(Timer& timer, Instant when) {
    timer.disarm();
    timer.clock_ = this;
    timer.when_ = settled(when);
    insert_timer(timer);
}

TimerHeap::~TimerHeap() {
    for (Timer* timer : heap_) timer->clock_ = nullptr;
}

void TimerHeap::place(usize index, Timer* timer) {
    heap_[index] = timer;
    timer->heap_index_ = index;
}

void TimerHeap::sift_up(usize index) {
    Timer* const timer = heap_[index];
    while (index > 0) {
        usize const parent = (index - 1) / 2;
        if (!before(*timer, *heap_[parent])) break;
        place(index, heap_[parent]);
        index = parent;
    }
    place(index, timer);
}

void TimerHeap::sift_down(usize index) {
    Timer* const timer = heap_[index];
    for (;;) {
        usize child = 2 * index + 1;
        if (child >= heap_.size()) break;
        if (child + 1 < heap_.size() && before(*heap_[child + 1], *heap_[child])) ++child;
        if (!before(*heap_[child], *timer)) break;
        place(index, heap_[child]);
        index = child;
    }
    place(index, timer);
}

void TimerHeap::insert(Timer& timer) {
    timer.order_ = next_order_++;
    heap_.push_back(&timer);
    sift_up(heap_.size() - 1);
}

void TimerHeap::remove(Timer& timer) {
    usize const index = timer.heap_index_;
    CORELET_ASSERT(index < heap_.size() && heap_[index] == &timer);
    Timer* const last = heap_.back();
    heap_.pop_back();
    if (last == &timer) return;
    place(index, last);
    sift_up(index);
    sift_down(last->heap_index_);
}

usize TimerHeap::fire_due(Instant now) {
    usize fired = 0;
    while (!heap_.empty() && heap_.front()->when_ <= now) {
        Timer& timer = *heap_.front();
        remove(timer);
        timer.clock_ = nullptr;
        timer.fire();
        ++fired;
    }
    return fired;
}

}  // namespace corelet
