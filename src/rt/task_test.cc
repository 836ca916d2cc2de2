#include "rt/task.h"

#include <gtest/gtest.h>

#include "rt/combine.h"
#include "rt/sync.h"

namespace corelet {
namespace {

// Time that only moves when told to.
class ManualClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return now_; }
    [[nodiscard]] WallTime wall_now() const override { return {}; }
    void advance(Duration d) {
        now_ = now_ + d;
        heap_.fire_due(now_);
    }

  private:
    void insert_timer(Timer& timer) override { heap_.insert(timer); }
    void remove_timer(Timer& timer) override { heap_.remove(timer); }
    Instant now_{};
    TimerHeap heap_;
};

Task<int> forty_two() {
    co_return 42;
}
Task<int> deep(int depth) {
    if (depth == 0) co_return 0;
    int const below = co_await deep(depth - 1);
    co_return below + 1;
}
Task<void> store(Task<int> task, int* out) {
    *out = co_await std::move(task);
}

TEST(Task, ReturnsAValueAndUsesConstantStack) {
    Executor executor;
    int out = 0;
    Scope scope(executor);
    scope.spawn(store(forty_two(), &out));
    EXPECT_EQ(out, 0) << "spawned tasks start in the executor's turn";
    executor.run_ready();
    EXPECT_EQ(out, 42);
    scope.spawn(store(deep(100'000), &out));
    executor.run_ready();
    EXPECT_EQ(out, 100'000);
    EXPECT_TRUE(scope.empty());
}

struct CountsItself {
    int* alive;
    explicit CountsItself(int* counter) : alive(counter) { ++*alive; }
    ~CountsItself() { --*alive; }
};
Task<void> waits_for(Event* event, int* alive, int* done) {
    CountsItself counted(alive);
    co_await event->wait();
    ++*done;
}

TEST(Scope, DroppingATaskDestroysItsLocalsAndNothingElseRuns) {
    Executor executor;
    Event event;
    int alive = 0, done = 0;
    {
        Scope scope(executor);
        for (int i = 0; i < 3; ++i) scope.spawn(waits_for(&event, &alive, &done));
        executor.run_ready();
        EXPECT_EQ(alive, 3);
        EXPECT_EQ(executor.live_tasks(), 3U);
        event.set();  // all three are ready to go on, and are dropped before they do
    }
    executor.run_ready();
    EXPECT_EQ(alive, 0);
    EXPECT_EQ(done, 0);
    EXPECT_EQ(executor.live_tasks(), 0U);
}

Task<void> cancels_its_own_scope(Scope* scope, int* alive, bool* went_on, Clock* clock) {
    CountsItself counted(alive);
    scope->cancel();
    EXPECT_EQ(*alive, 1) << "the running task lives until it suspends";
    co_await clock->sleep(1_s);
    *went_on = true;
}

TEST(Scope, ATaskMayDropItself) {
    Executor executor;
    ManualClock clock;
    int alive = 0;
    bool went_on = false;
    Scope scope(executor);
    scope.spawn(cancels_its_own_scope(&scope, &alive, &went_on, &clock));
    executor.run_ready();
    EXPECT_EQ(alive, 0);
    clock.advance(2_s);
    executor.run_ready();
    EXPECT_FALSE(went_on);
}

Task<void> join_and_set(Scope* scope, bool* joined) {
    co_await scope->join();
    *joined = true;
}

TEST(Scope, JoinWaitsForAll) {
    Executor executor;
    Event event;
    int alive = 0, done = 0;
    bool joined = false;
    Scope inner(executor);
    Scope outer(executor);
    inner.spawn(waits_for(&event, &alive, &done));
    inner.spawn(waits_for(&event, &alive, &done));
    outer.spawn(join_and_set(&inner, &joined));
    executor.run_ready();
    EXPECT_FALSE(joined);
    event.set();
    executor.run_ready();
    EXPECT_TRUE(joined);
    EXPECT_EQ(done, 2);
}

Task<Result<int>> slow(Clock* clock, Duration d) {
    co_await clock->sleep(d);
    co_return 7;
}
Task<void> race(Clock* clock, Duration work, Duration limit, std::optional<Result<int>>* out) {
    out->emplace(co_await with_timeout<int>(*clock, limit, slow(clock, work)));
}

TEST(Combine, DeadlineDropsTheTask) {
    Executor executor;
    ManualClock clock;
    std::optional<Result<int>> in_time, too_late;
    Scope scope(executor);
    scope.spawn(race(&clock, 1_s, 2_s, &in_time));
    scope.spawn(race(&clock, 3_s, 2_s, &too_late));
    executor.run_ready();
    clock.advance(1_s);
    executor.run_ready();
    ASSERT_TRUE(in_time.has_value() && in_time->has_value());
    EXPECT_EQ(**in_time, 7);
    clock.advance(1_s);
    executor.run_ready();
    ASSERT_TRUE(too_late.has_value());
    EXPECT_EQ(too_late->error().code, Code::kTimeout);
    EXPECT_EQ(executor.live_tasks(), 0U);
}

Task<void> sum_all(int* out) {
    std::vector<Task<int>> tasks;
    for (int i = 0; i < 10; ++i) tasks.push_back(deep(i));
    auto const results = co_await join_all<int>(std::move(tasks));
    for (int value : results) *out += value;
}

TEST(Combine, JoinAllKeepsOrder) {
    Executor executor;
    Scope scope(executor);
    int sum = 0;
    scope.spawn(sum_all(&sum));
    executor.run_ready();
    EXPECT_EQ(sum, 45);
}

Task<void> hold(Semaphore* semaphore, u64 units, Event* release, std::vector<u64>* order) {
    Permit const permit = co_await acquire_permit(*semaphore, units);
    order->push_back(units);
    co_await release->wait();
}

TEST(Semaphore, InOrderAndNothingIsLostWhenAWaiterIsDropped) {
    Executor executor;
    Semaphore semaphore(10);
    Event release;
    std::vector<u64> order;
    Scope first(executor), second(executor), third(executor);
    first.spawn(hold(&semaphore, 6, &release, &order));
    second.spawn(hold(&semaphore, 7, &release, &order));
    third.spawn(hold(&semaphore, 1, &release, &order));
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<u64>{6})) << "one unit would fit, but seven were asked for before it";
    second.cancel();
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<u64>{6, 1}));
    release.set();
    executor.run_ready();
    EXPECT_EQ(semaphore.available(), 10U);
}

Task<void> produce(Channel<int>* channel, int count) {
    for (int i = 0; i < count; ++i) co_await channel->send(i);
    channel->close();
}
Task<void> consume(Channel<int>* channel, std::vector<int>* out) {
    for (;;) {
        auto const item = co_await channel->recv();
        if (!item) co_return;
        out->push_back(*item);
    }
}

TEST(Channel, BoundedInOrderDrainsAfterClose) {
    Executor executor;
    Channel<int> channel(3);
    std::vector<int> got;
    Scope scope(executor);
    scope.spawn(produce(&channel, 100));
    executor.run_ready();
    EXPECT_EQ(channel.size(), 3U) << "back-pressure";
    scope.spawn(consume(&channel, &got));
    executor.run_ready();
    EXPECT_EQ(got.size(), 100U);
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end()));
}

Task<void> outer_wait(Event* event) {
    co_await event->wait();
}
Task<void> outermost(Event* event) {
    co_await outer_wait(event);
}

TEST(Executor, BacktraceNamesEachSuspendedTask) {
    Executor executor;
    Event event;
    Scope scope(executor);
    scope.spawn(outermost(&event));
    executor.run_ready();
    std::string const trace = executor.backtrace();
    EXPECT_NE(trace.find("outermost"), std::string::npos) << trace;
    EXPECT_NE(trace.find("outer_wait"), std::string::npos) << trace;
    EXPECT_NE(trace.find("task_test.cc"), std::string::npos) << trace;
}

TEST(TimerHeap, FiresInOrderOfTimeThenOfArming) {
    Executor executor;
    ManualClock clock;
    std::vector<int> order;
    struct Note final : Timer {
        std::vector<int>* out;
        int id;
        Note(std::vector<int>* o, int i) : out(o), id(i) {}
        void fire() override { out->push_back(id); }
    };
    std::vector<std::unique_ptr<Note>> notes;
    for (int i = 0; i < 50; ++i) {
        notes.push_back(std::make_unique<Note>(&order, i));
        clock.arm(*notes.back(), Instant{(i * 7) % 10});
    }
    for (int i = 0; i < 50; i += 5) notes[i].reset();
    clock.advance(Duration{100});
    ASSERT_EQ(order.size(), 40U);
    for (usize i = 1; i < order.size(); ++i) {
        auto const key = [](int id) { return std::pair((id * 7) % 10, id); };
        EXPECT_LT(key(order[i - 1]), key(order[i]));
    }
}

}  // namespace
}  // namespace corelet
