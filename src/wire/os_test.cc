// The same nodes on Linux: unix sockets with the kernel's word on who is there, and TCP on the loopback, on both
// engines.
#include <gtest/gtest.h>

#include "os/random.h"
#include "os/world.h"
#include "wire/chat_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_nodes = 3;

class WireOs : public ::testing::TestWithParam<os::Engine> {
  protected:
    void SetUp() override {
        os::LoopOptions options;
        options.engine = GetParam();
        auto made = os::Loop::create(options);
        if (!made && made.error().code == Code::kDenied) GTEST_SKIP() << made.error().to_string();
        ASSERT_TRUE(made.has_value()) << made.error().to_string();
        loop = *std::move(made);
        os::LogOptions log_options;
        log_options.level = LogLevel::kError;
        log = *os::make_log(log_options);
        // The listeners remove their sockets themselves.
        prefix = ::testing::TempDir() + "corelet-wire-" + hex64(os::os_random_seed());
    }
    void run(bool unix_sockets) {
        std::array<ChatCounters, k_nodes + 1> counters;
        std::vector<std::unique_ptr<os::World>> worlds;
        std::vector<std::unique_ptr<Scope>> programs;
        ChatSetup setup;
        u16 const port = static_cast<u16>(20'000 + os::os_random_seed() % 10'000);
        for (u64 id = 1; id <= k_nodes; ++id) {
            setup.addresses[id] = unix_sockets ? Address::unix_path(prefix + "-n" + std::to_string(id))
                                               : Address::tcp("127.0.0.1", static_cast<u16>(port + id));
        }
        setup.pause = 100_us;
        for (u64 id = 1; id <= k_nodes; ++id) {
            setup.id = id;
            worlds.push_back(std::make_unique<os::World>(*loop, *log, os::os_random_seed()));
            programs.push_back(std::make_unique<Scope>(worlds.back()->env().executor));
            programs.back()->spawn(chat(&worlds.back()->env(), setup, &counters[id]));
        }
        auto const all_reached = [&] {
            return std::all_of(counters.begin() + 1, counters.end(), [](const ChatCounters& one) {
                return one.answered_by.size() == k_nodes && one.answered >= 300;
            });
        };
        loop->run_until(all_reached);
        // One of them dies and comes back.
        programs[1].reset();
        u64 const failed = counters[1].failed;
        loop->run_until([&] { return counters[1].failed > failed; });
        setup.id = 2;
        programs[1] = std::make_unique<Scope>(worlds[1]->env().executor);
        programs[1]->spawn(chat(&worlds[1]->env(), setup, &counters[2]));
        for (ChatCounters& one : counters) one.answered_by.clear();
        loop->run_until(all_reached);
        for (const ChatCounters& one : counters) EXPECT_EQ(one.wrong, 0U);
        programs.clear();
        for (auto& world : worlds) EXPECT_EQ(world->env().executor.live_tasks(), 0U);
    }
    std::unique_ptr<os::Loop> loop;
    std::unique_ptr<Log> log;
    std::string prefix;
};

TEST_P(WireOs, NodesCallEachOtherOverUnixSockets) {
    run(true);
}
TEST_P(WireOs, NodesCallEachOtherOverTcp) {
    run(false);
}

INSTANTIATE_TEST_SUITE_P(Engines, WireOs, ::testing::Values(os::Engine::kUring, os::Engine::kEpoll),
                         [](auto& info) { return info.param == os::Engine::kUring ? "uring" : "epoll"; });

}  // namespace
}  // namespace corelet
