#include <signal.h>

#include <fstream>
#include <thread>

#include "os/host_testing.h"
#include "os/random.h"
#include "os/signals.h"
#include "os/spin_governor.h"
#include "rt/combine.h"

namespace corelet::os {
namespace {

class LoopTest : public HostTest {};
CORELET_ON_BOTH_ENGINES(LoopTest);

Task<void> note_after(Clock* clock, Duration wait, int name, std::vector<int>* order, bool* early) {
    Instant const due = clock->now() + wait;
    co_await clock->sleep_until(due);
    *early |= clock->now() < due;
    order->push_back(name);
}

TEST_P(LoopTest, TimersFireInOrderAndNeverEarly) {
    std::vector<int> order;
    bool early = false;
    Scope scope(env().executor);
    scope.spawn(note_after(&env().clock, 30_ms, 3, &order, &early));
    scope.spawn(note_after(&env().clock, 10_ms, 1, &order, &early));
    scope.spawn(note_after(&env().clock, 20_ms, 2, &order, &early));
    scope.spawn(note_after(&env().clock, 300_us, 0, &order, &early));
    run_until([&] { return order.size() == 4; });
    EXPECT_EQ(order, (std::vector{0, 1, 2, 3}));
    EXPECT_FALSE(early);
}

TEST_P(LoopTest, ADroppedSleeperIsNotWoken) {
    std::vector<int> order;
    bool early = false;
    {
        Scope scope(env().executor);
        scope.spawn(note_after(&env().clock, 1_ms, 1, &order, &early));
        env().executor.run_ready();
    }
    run(note_after(&env().clock, 2_ms, 2, &order, &early));
    EXPECT_EQ(order, std::vector{2});
}

TEST_P(LoopTest, TheClocksAreTheMachines) {
    Instant const first = env().clock.now();
    Instant const second = env().clock.now();
    EXPECT_LE(first, second);
    std::ifstream uptime("/proc/uptime");
    i64 seconds = 0;
    uptime >> seconds;
    // Both count from the machine's start, suspend included.
    EXPECT_GE(env().clock.now().ns / 1'000'000'000, seconds);
    EXPECT_GE(env().clock.wall_now().unix_ns, i64{1'700'000'000} * 1'000'000'000);
}

TEST_P(LoopTest, OffloadedWorkRunsElsewhereAndComesBack) {
    auto const here = std::this_thread::get_id();
    std::vector<Task<void>> tasks;
    std::atomic<int> done = 0;
    std::atomic<int> at_home = 0;
    Scope scope(env().executor);
    // More than may be outstanding at once.
    for (int i = 0; i < 1000; ++i) {
        scope.spawn(env().spawn.offload([&] {
            if (std::this_thread::get_id() == here) ++at_home;
            ++done;
        }));
    }
    run(scope.join());
    EXPECT_EQ(done, 1000);
    EXPECT_EQ(at_home, 0);
    EXPECT_LE(loop().workers().threads(), LoopOptions{}.offload_threads);
}

TEST_P(LoopTest, OffloadedWorkOfADroppedTaskStillRunsAndOwnsItsData) {
    auto data = std::make_shared<std::atomic<int>>(0);
    {
        Scope scope(env().executor);
        for (int i = 0; i < 10; ++i) {
            scope.spawn(env().spawn.offload([data, buffer = pattern(4096, 1)] {
                if (buffer.size() == 4096) ++*data;
            }));
        }
        env().executor.run_ready();
    }
    run_until([&] { return *data == 10; });
}

TEST_P(LoopTest, OffloadedWorkEndsBeforeTheLoopDoes) {
    auto data = std::make_shared<std::atomic<int>>(0);
    {
        Scope scope(env().executor);
        for (int i = 0; i < 100; ++i) scope.spawn(env().spawn.offload([data] { ++*data; }));
        env().executor.run_ready();
    }
    host_.reset();
    EXPECT_EQ(*data, 100);
    EXPECT_EQ(data.use_count(), 1);
}

Task<void> stop_after_turns(Loop* loop, int turns, bool* reached) {
    for (int i = 0; i < turns; ++i) co_await yield{};
    *reached = true;
    loop->stop();
}

TEST_P(LoopTest, RunsUntilStoppedByATaskOrAnotherThread) {
    bool reached = false;
    Scope scope(env().executor);
    scope.spawn(stop_after_turns(&loop(), 5000, &reached));
    loop().run();
    EXPECT_TRUE(reached);
    std::thread other([&] { loop().stop(); });
    loop().run();
    other.join();
}

TEST_P(LoopTest, SleepsWhenThereIsNothingToDo) {
    std::vector<int> order;
    bool early = false;
    u64 const before = loop().turns();
    run(note_after(&env().clock, 20_ms, 1, &order, &early));
    // A turn to begin, one to wake up; a few more if the kernel wakes it without reason.
    EXPECT_LE(loop().turns() - before, 20U);
}

Task<void> pass_on(Event* from, Event* to) {
    co_await from->wait();
    to->set();
}

TEST_P(LoopTest, DrivesSeveralExecutorsThatWakeEachOther) {
    auto second = std::make_unique<World>(loop(), env().log, 1);
    std::array<Event, 4> steps;
    Scope mine(env().executor);
    {
        Scope theirs(second->env().executor);
        mine.spawn(pass_on(&steps[0], &steps[1]));
        theirs.spawn(pass_on(&steps[1], &steps[2]));
        mine.spawn(pass_on(&steps[2], &steps[3]));
        run([](Event* first) -> Task<void> {
            first->set();
            co_return;
        }(&steps[0]));
        loop().run_until([&] { return steps[3].is_set(); });
    }
    second.reset();
    run([]() -> Task<void> { co_await yield{}; }());
}

Task<void> keep_busy(const bool* done) {
    while (!*done) co_await yield{};
}

// A task that never waits must not starve the kernel's news.
TEST_P(LoopTest, BusyTasksLetOthersHearOfTheirFiles) {
    bool done = false;
    Scope scope(env().executor);
    scope.spawn(keep_busy(&done));
    auto file = run(env().disk.open(path("a"), {.create = true, .size_bytes = 4096}));
    ASSERT_TRUE(file.has_value());
    EXPECT_TRUE(run((*file)->write(0, pattern(4096, 1), Durability::kDurable)).has_value());
    done = true;
}

TEST_P(LoopTest, SignalsAreEvents) {
    auto signals = Signals::create(loop(), {SIGTERM, SIGINT});
    ASSERT_TRUE(signals.has_value());
    ::raise(SIGTERM);
    EXPECT_EQ(run((*signals)->next()), SIGTERM);
    std::optional<int> got;
    struct Waiter {
        static Task<void> run(Signals* from, std::optional<int>* out) { *out = co_await from->next(); }
    };
    Scope scope(env().executor);
    scope.spawn(Waiter::run(signals->get(), &got));
    env().executor.run_ready();
    ::kill(::getpid(), SIGINT);
    run_until([&] { return got.has_value(); });
    EXPECT_EQ(*got, SIGINT);
}

TEST_P(LoopTest, ForksRandomStreamsFromTheKernelsSeed) {
    EXPECT_NE(os_random_seed(), os_random_seed());
}

TEST_P(LoopTest, TellsItsEngine) {
    EXPECT_EQ(loop().engine_name(), GetParam() == Engine::kUring ? "io_uring" : "epoll");
}

TEST(LoopChoice, TheEnvironmentForbidsUring) {
    ::setenv("CORELET_NO_URING", "1", 1);
    auto const loop = Loop::create();
    ::unsetenv("CORELET_NO_URING");
    ASSERT_TRUE(loop.has_value());
    EXPECT_EQ((*loop)->engine_name(), "epoll");
}

// Stays awake while that succeeds, and asks ever more rarely while it does not.
TEST(SpinGovernor, FollowsSuccess) {
    SpinGovernor governor(50_us);
    auto const waits_before_spinning = [&] {
        int waits = 0;
        while (governor.next().ns == 0) ++waits;
        return waits;
    };
    EXPECT_GT(waits_before_spinning(), 10);
    for (int i = 0; i < 4; ++i) governor.spun(true);
    EXPECT_EQ(governor.next(), 50_us);
    governor.spun(false);
    EXPECT_EQ(governor.next(), 50_us);
    governor.spun(false);
    int last = 0;
    for (int i = 0; i < 5; ++i) {
        int const waits = waits_before_spinning();
        EXPECT_GT(waits, last);
        last = waits;
        governor.spun(false);
    }
    for (int i = 0; i < 20; ++i) {
        governor.spun(false);
        EXPECT_LE(waits_before_spinning(), 4096);
    }
    SpinGovernor never(Duration{0});
    for (int i = 0; i < 10'000; ++i) ASSERT_EQ(never.next(), Duration{0});
}

TEST(LoopSpin, SpinningLoopsWorkAndStillSleep) {
    for (Engine const engine : {Engine::kUring, Engine::kEpoll}) {
        HostOptions options;
        options.loop.engine = engine;
        options.loop.spin = 50_us;
        auto host = Host::create(options);
        if (!host) continue;
        Clock& clock = (*host)->env().clock;
        auto const nap = [](Clock* on) -> Task<void> { co_await on->sleep(20_us); };
        for (int i = 0; i < 100; ++i) (*host)->run_until_done(nap(&clock));
        int done = 0;
        Scope scope((*host)->env().executor);
        scope.spawn((*host)->env().spawn.offload([&] { done = 1; }));
        (*host)->run_until_done(scope.join());
        EXPECT_EQ(done, 1);
    }
}

class LogTest : public HostTest {
  protected:
    std::vector<std::string> lines(std::string_view name) {
        std::ifstream in(path(name));
        std::vector<std::string> out;
        for (std::string line; std::getline(in, line);) out.push_back(line);
        return out;
    }
};
INSTANTIATE_TEST_SUITE_P(Engines, LogTest, testing::Values(Engine::kAuto));

TEST_P(LogTest, WritesALineAnEventAboveItsLevel) {
    auto log = make_log({.level = LogLevel::kWarning, .path = path("log")});
    ASSERT_TRUE(log.has_value());
    bool made = false;
    log_info(**log, "quiet.event", [&] {
        made = true;
        return std::string("unused");
    });
    EXPECT_FALSE(made);
    log_warning(**log, "disk.slow", "sda");
    log_error(**log, "peer.says", "two\nlines\x1b[31m {}");
    auto const written = lines("log");
    ASSERT_EQ(written.size(), 2U);
    EXPECT_THAT(written[0], testing::MatchesRegex("....-..-..T..:..:..\\....Z warning disk.slow sda"));
    EXPECT_THAT(written[1], testing::MatchesRegex(".*Z error peer.says two\\\\nlines\\\\x1b\\[31m \\{\\}"));
}

TEST_P(LogTest, StaysWithinItsBound) {
    auto log = make_log({.level = LogLevel::kDebug, .path = path("log"), .bytes_max = 10'000, .files_max = 3});
    for (int i = 0; i < 2000; ++i) log_debug(**log, "noise", std::string(100, 'x'));
    u64 total = 0;
    for (auto const& entry : std::filesystem::directory_iterator(directory_)) total += entry.file_size();
    EXPECT_LE(total, 4 * 10'000U);
    EXPECT_GE(total, 3 * 9'000U);
}

TEST_P(LogTest, AFileThatCannotBeOpenedIsAnError) {
    // A file stands where a directory would be needed.
    std::ofstream(path("x")) << "";
    EXPECT_EQ(make_log({.path = path("x/y")}).error().code, Code::kIo);
}

}  // namespace
}  // namespace corelet::os
