// The one queue of a simulated world: events ordered by (virtual time, order of scheduling). Time moves only from
// one event to the next. Events are usually members of what they belong to, and leave the queue when that goes
// away.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/time.h"

namespace corelet::sim {

// True time of the world, from 0. No node sees it: their clocks are skewed and drift.
struct VirtualTime {
    i64 ns = 0;
    friend constexpr auto operator<=>(VirtualTime, VirtualTime) = default;
    friend constexpr VirtualTime operator+(VirtualTime t, Duration d) { return {t.ns + d.ns}; }
    friend constexpr Duration operator-(VirtualTime a, VirtualTime b) { return {a.ns - b.ns}; }
};

class EventQueue;

class Event {
  public:
    Event() = default;
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;
    virtual ~Event() { cancel(); }
    void cancel();
    [[nodiscard]] bool is_scheduled() const { return queue_ != nullptr; }
    // When it is scheduled.
    [[nodiscard]] VirtualTime when() const;

  protected:
    virtual void fire() = 0;

  private:
    friend class EventQueue;
    EventQueue* queue_ = nullptr;
    usize index_ = 0;
    bool owned_ = false;  // by the queue, which deletes it after it fired
};

class EventQueue {
  public:
    EventQueue() = default;
    ~EventQueue();
    EventQueue(const EventQueue&) = delete;
    EventQueue& operator=(const EventQueue&) = delete;

    [[nodiscard]] VirtualTime now() const { return now_; }
    // At `when`, or now if that has passed. An event that is scheduled already is moved.
    void schedule(Event& event, VirtualTime when);
    void schedule_in(Event& event, Duration delay) { schedule(event, now_ + delay); }
    // The queue keeps it and deletes it after it has fired.
    void schedule_owned(std::unique_ptr<Event> event, VirtualTime when);
    void call_at(VirtualTime when, std::move_only_function<void()> function);

    [[nodiscard]] bool empty() const { return heap_.empty(); }
    [[nodiscard]] usize size() const { return heap_.size(); }
    // There must be one.
    [[nodiscard]] VirtualTime next_time() const { return heap_.front().when; }
    // Moves time to the earliest event and fires it. There must be one.
    void run_next();
    // Moves time on when no event lies before `when`.
    void advance_to(VirtualTime when);
    [[nodiscard]] u64 fired() const { return fired_; }

  private:
    friend class Event;
    struct Entry {
        VirtualTime when;
        u64 order;
        Event* event;
        [[nodiscard]] bool before(const Entry& other) const {
            return when != other.when ? when < other.when : order < other.order;
        }
    };
    static constexpr usize k_arity = 4;  // shallower than a binary heap; four entries are a cache line and a half
    void remove(usize index);
    void place(usize index, const Entry& entry);
    void sift_up(usize index, const Entry& entry);
    void sift_down(usize index, const Entry& entry);

    std::vector<Entry> heap_;
    VirtualTime now_;
    u64 next_order_ = 0;
    u64 fired_ = 0;
};

}  // namespace corelet::sim
