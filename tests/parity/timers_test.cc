#include "platform.h"
#include "rt/combine.h"

namespace corelet::parity {
namespace {

class Timers : public Parity {};
CORELET_PARITY(Timers);

Task<Duration> measure_sleep(Env* env, Duration time) {
    Instant const before = env->clock.now();
    co_await env->clock.sleep(time);
    co_return env->clock.now() - before;
}
TEST_P(Timers, SleepsAreNeverShort) {
    for (Duration const time : {0_ms, 1_us, 1_ms, 20_ms}) EXPECT_GE(run(measure_sleep(&env(), time)).ns, time.ns);
}

Task<void> note_after(Env* env, Duration time, int id, std::vector<int>* order) {
    co_await env->clock.sleep_until(Instant{time.ns});
    order->push_back(id);
}
Task<std::vector<int>> sleep_side_by_side(Env* env) {
    std::vector<int> order;
    Scope scope(env->executor);
    i64 const now = env->clock.now().ns;
    for (int i = 0; i < 20; ++i) {
        int const late = i * 7 % 20;
        scope.spawn(note_after(env, Duration{now + (late + 1) * 2'000'000}, late, &order));
    }
    co_await scope.join();
    co_return order;
}
TEST_P(Timers, FireInOrder) {
    auto const order = run(sleep_side_by_side(&env()));
    EXPECT_EQ(order.size(), 20U);
    EXPECT_TRUE(std::ranges::is_sorted(order));
}

Task<void> drop_sleepers(Env* env, std::vector<int>* order) {
    {
        Scope scope(env->executor);
        i64 const now = env->clock.now().ns;
        for (int i = 0; i < 5; ++i) scope.spawn(note_after(env, Duration{now + 3'000'000}, i, order));
        co_await env->clock.sleep(1_ms);
    }
    co_await env->clock.sleep(10_ms);
}
TEST_P(Timers, DroppedOnesNeverFire) {
    std::vector<int> order;
    run(drop_sleepers(&env(), &order));
    // On a busy machine the first sleep may have taken so long that all were due before the drop.
    EXPECT_TRUE(order.empty() || order.size() == 5);
}

Task<bool> clocks_advance(Env* env) {
    Instant const mono = env->clock.now();
    WallTime const wall = env->clock.wall_now();
    co_await env->clock.sleep(5_ms);
    co_return env->clock.now() > mono && env->clock.wall_now() > wall;
}
TEST_P(Timers, BothClocksGoOn) {
    EXPECT_TRUE(run(clocks_advance(&env())));
}

Task<bool> offload_one(Env* env, int* out) {
    bool ran = false;
    co_await env->spawn.offload([&] { ran = true; });
    co_await env->spawn.offload([out] { ++*out; });
    co_return ran;
}
Task<void> offload_and_drop(Env* env, std::shared_ptr<int> out) {
    co_await env->spawn.offload([out] { ++*out; });
}
Task<void> drop_offloaded(Env* env, std::shared_ptr<int> out) {
    {
        Scope scope(env->executor);
        scope.spawn(offload_and_drop(env, out));
        co_await env->clock.sleep(1_us);  // long enough to hand it over
    }
    // Whoever waits may go; the work is done all the same, at the latest when nobody else holds its pieces.
    while (out.use_count() > 2) co_await env->clock.sleep(1_ms);
}
TEST_P(Timers, OffloadedWorkIsDoneWhenTheCallReturns) {
    int out = 0;
    EXPECT_TRUE(run(offload_one(&env(), &out)));
    EXPECT_EQ(out, 1);
    auto const dropped = std::make_shared<int>(0);
    run(drop_offloaded(&env(), dropped));
    EXPECT_EQ(*dropped, 1);
}

}  // namespace
}  // namespace corelet::parity
