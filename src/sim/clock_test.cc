#include "sim/clock.h"

#include <gtest/gtest.h>

#include "sim/world.h"

namespace corelet::sim {
namespace {

TEST(ClockState, TrueTimeIsTheFirstMomentThatShowsIt) {
    Prng prng(1);
    for (int i = 0; i < 2'000; ++i) {
        ClockState clock;
        VirtualTime const start{static_cast<i64>(prng.below(1'000'000'000'000'000))};
        Instant const local{static_cast<i64>(prng.below(1'000'000'000'000'000))};
        clock.start(start, local, static_cast<i64>(prng.below(20'001)) - 10'000);
        EXPECT_EQ(clock.local(start), local);
        Instant const wanted = local + Duration{static_cast<i64>(prng.below(100'000'000'000'000))};
        VirtualTime const found = clock.true_time(wanted);
        EXPECT_GE(clock.local(found), wanted);
        EXPECT_LT(clock.local({found.ns - 1}), wanted);
    }
}

TEST(ClockState, DriftStaysWithinOnePercentAndTimeNeverGoesBack) {
    Prng prng(2);
    ClockState clock;
    clock.start({0}, {5'000}, 10'000);
    VirtualTime now{0};
    Instant shown = clock.local(now);
    for (int i = 0; i < 1'000; ++i) {
        Duration const step{static_cast<i64>(prng.below(1'000'000'000))};
        Instant const before = shown;
        now = now + step;
        shown = clock.local(now);
        i64 const off = std::abs((shown - before).ns - step.ns);
        EXPECT_LE(off, step.ns / 100 + 1);
        clock.set_drift(now, static_cast<i64>(prng.below(20'001)) - 10'000);
        EXPECT_EQ(clock.local(now), shown) << "a change of rate is no jump";
    }
}

TEST(ClockState, TheWallClockJumpsAndTheOtherDoesNot) {
    ClockState clock;
    clock.start({0}, {0}, 0);
    WallTime const before = clock.wall({1'000});
    clock.jump_wall(Duration{-3'600'000'000'000});
    EXPECT_EQ(clock.wall({1'000}).unix_ns, before.unix_ns - 3'600'000'000'000);
    EXPECT_EQ(clock.local({1'000}).ns, 1'000);
}

Task<void> note_wake(Env* env, Duration sleep, i64* slept_ns) {
    Instant const before = env->clock.now();
    co_await env->clock.sleep(sleep);
    *slept_ns = (env->clock.now() - before).ns;
}
TEST(SimClock, TimersFollowTheLocalClockWhenItsRateChanges) {
    World world(3);
    auto& node = world.add_node("n");
    i64 slept = 0;
    node.start([&](Env& env) { return note_wake(&env, 1_s, &slept); });
    world.run_for(500_ms);
    node.set_drift(10'000);
    EXPECT_EQ(slept, 0);
    world.run_for(600_ms);
    EXPECT_GE(slept, 1'000'000'000);
    EXPECT_LE(slept, 1'000'000'002) << "a timer that fires late by more was armed at the old rate";
}

TEST(SimClock, AMachineThatLosesPowerCountsFromAnew) {
    World world(4);
    auto& node = world.add_node("n");
    i64 slept = 0;
    auto const boot = [&](Env& env) { return note_wake(&env, 1_s, &slept); };
    node.start(boot);
    world.run_for(1_ms);
    Instant const before = node.env().clock.now();
    node.crash(Ending::kKill);
    node.restart();
    EXPECT_EQ(node.env().clock.now(), before) << "the process ended, the machine did not";
    node.crash(Ending::kPower);
    node.restart();
    EXPECT_NE(node.env().clock.now(), before);
}

TEST(EventQueue, FiresInOrderOfTimeThenOfScheduling) {
    EventQueue queue;
    Prng prng(5);
    std::vector<std::pair<i64, int>> fired;
    for (int i = 0; i < 1'000; ++i) {
        i64 const when = static_cast<i64>(prng.below(50));
        queue.call_at({when}, [&fired, when, i] { fired.emplace_back(when, i); });
    }
    while (!queue.empty()) queue.run_next();
    EXPECT_EQ(fired.size(), 1'000U);
    EXPECT_TRUE(std::ranges::is_sorted(fired));
    EXPECT_EQ(queue.now().ns, 49);
}

struct Noted final : Event {
    int* count = nullptr;
    void fire() override { ++*count; }
};
TEST(EventQueue, EventsLeaveItWhenDestroyedOrMoved) {
    EventQueue queue;
    int count = 0;
    std::vector<std::unique_ptr<Noted>> events;
    for (int i = 0; i < 100; ++i) {
        events.push_back(std::make_unique<Noted>());
        events.back()->count = &count;
        queue.schedule(*events.back(), {i % 7});
    }
    for (usize i = 0; i < 100; i += 2) events[i].reset();
    queue.schedule(*events[1], {1'000});
    EXPECT_EQ(queue.size(), 50U);
    while (queue.next_time().ns < 1'000) queue.run_next();
    EXPECT_EQ(count, 49);
    EXPECT_TRUE(events[1]->is_scheduled());
    queue.run_next();
    EXPECT_EQ(count, 50);
    EXPECT_TRUE(queue.empty());
}

TEST(Trace, KeepsTheLatestRecordsAndHashesAll) {
    EventQueue queue;
    Trace trace(queue);
    trace.keep_recent(4);
    for (u64 i = 1; i <= 3; ++i) trace.record(TraceKind::kMark, 0, i);
    EXPECT_EQ(trace.recent().size(), 3U);
    for (u64 i = 4; i <= 2'048; ++i) trace.record(TraceKind::kMark, 0, i);
    auto const recent = trace.recent();
    ASSERT_EQ(recent.size(), 4U);
    EXPECT_EQ(recent.front().id, 2'045U);
    EXPECT_EQ(recent.back().id, 2'048U);
    EXPECT_EQ(trace.blocks().size(), 2U);
    EXPECT_EQ(trace.blocks().back().hash, trace.hash());
    Trace other(queue);
    for (u64 i = 1; i <= 2'048; ++i) other.record(TraceKind::kMark, 0, i == 1'500 ? 0 : i);
    EXPECT_EQ(other.blocks()[0].hash, trace.blocks()[0].hash);
    EXPECT_NE(other.blocks()[1].hash, trace.blocks()[1].hash);
}

}  // namespace
}  // namespace corelet::sim
