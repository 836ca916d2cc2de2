#include "sim/event_queue.h"

#include "base/assert.h"

namespace corelet::sim {

namespace {
class CallEvent final : public Event {
  public:
    explicit CallEvent(std::move_only_function<void()> function) : function_(std::move(function)) {}

  private:
    void fire() override { function_(); }
    std::move_only_function<void()> function_;
};
}  // namespace

void Event::cancel() {
    if (!queue_) return;
    EventQueue* const queue = std::exchange(queue_, nullptr);
    queue->remove(index_);
}

VirtualTime Event::when() const {
    CORELET_ASSERT(queue_ != nullptr);
    return queue_->heap_[index_].when;
}

EventQueue::~EventQueue() {
    for (Entry& entry : heap_) entry.event->queue_ = nullptr;
    for (Entry& entry : heap_) {
        if (entry.event->owned_) delete entry.event;
    }
}

void EventQueue::schedule(Event& event, VirtualTime when) {
    event.cancel();
    if (when < now_) when = now_;
    event.queue_ = this;
    heap_.emplace_back();
    sift_up(heap_.size() - 1, Entry{when, next_order_++, &event});
}

void EventQueue::schedule_owned(std::unique_ptr<Event> event, VirtualTime when) {
    event->owned_ = true;
    schedule(*event.release(), when);
}

void EventQueue::call_at(VirtualTime when, std::move_only_function<void()> function) {
    schedule_owned(std::make_unique<CallEvent>(std::move(function)), when);
}

void EventQueue::run_next() {
    CORELET_ASSERT(!heap_.empty());
    Entry const entry = heap_.front();
    CORELET_ASSERT(entry.when >= now_, "time runs backward");
    entry.event->queue_ = nullptr;
    remove(0);
    now_ = entry.when;
    ++fired_;
    // An event that is not owned may be destroyed by what it sets off.
    bool const owned = entry.event->owned_;
    entry.event->fire();
    if (owned && !entry.event->is_scheduled()) delete entry.event;
}

void EventQueue::advance_to(VirtualTime when) {
    CORELET_ASSERT(heap_.empty() || heap_.front().when >= when, "an event would be skipped");
    if (when > now_) now_ = when;
}

void EventQueue::place(usize index, const Entry& entry) {
    heap_[index] = entry;
    entry.event->index_ = index;
}

void EventQueue::sift_up(usize index, const Entry& entry) {
    while (index > 0) {
        usize const parent = (index - 1) / k_arity;
        if (!entry.before(heap_[parent])) break;
        place(index, heap_[parent]);
        index = parent;
    }
    place(index, entry);
}

void EventQueue::sift_down(usize index, const Entry& entry) {
    usize const size = heap_.size();
    for (;;) {
        usize const first = k_arity * index + 1;
        if (first >= size) break;
        usize least = first;
        usize const end = std::min(first + k_arity, size);
        for (usize child = first + 1; child < end; ++child) {
            if (heap_[child].before(heap_[least])) least = child;
        }
        if (!heap_[least].before(entry)) break;
        place(index, heap_[least]);
        index = least;
    }
    place(index, entry);
}

void EventQueue::remove(usize index) {
    CORELET_ASSERT(index < heap_.size());
    Entry const last = heap_.back();
    heap_.pop_back();
    if (index == heap_.size()) return;
    if (index > 0 && last.before(heap_[(index - 1) / k_arity])) {
        sift_up(index, last);
    } else {
        sift_down(index, last);
    }
}

}  // namespace corelet::sim
