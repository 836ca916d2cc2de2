// The echo story in the real world: sockets and files of this machine, relays that cut, a disk that forgets.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "lossy_disk.h"
#include "os/world.h"
#include "relay.h"
#include "story.h"

namespace corelet::echo {
namespace {

class OsHabitat final : public Habitat {
  public:
    explicit OsHabitat(os::Engine engine) {
        std::string pattern = std::filesystem::temp_directory_path() / "echo.XXXXXX";
        directory_ = ::mkdtemp(pattern.data());
        os::LoopOptions options;
        options.engine = engine;
        loop_ = *os::Loop::create(options);
        os::LogOptions quiet;
        quiet.level = LogLevel::kError;
        log_ = *os::make_log(quiet);
        own_ = std::make_unique<os::World>(*loop_, *log_, 1);
        own_tasks_ = std::make_unique<Scope>(own_->env().executor);
        for (usize from = 0; from < k_corelets; ++from) {
            memories_[from] = std::make_shared<LossyDisk::Memory>();
            for (usize to = 0; to < k_corelets; ++to) {
                if (from == to) continue;
                own_tasks_->spawn(relay(own_->env(), address(from, to), listen_address(to), &relays_[from][to]));
            }
        }
    }
    ~OsHabitat() override {
        for (usize i = 0; i < k_corelets; ++i) machines_[i].reset();
        own_tasks_.reset();
        own_.reset();
        std::filesystem::remove_all(directory_);
    }
    void boot(usize corelet, std::function<Task<void>(Env&)> program) override {
        ASSERT_EQ(machines_[corelet], nullptr);
        machines_[corelet] = std::make_unique<Machine>(*loop_, *log_, memories_[corelet], ++boots_);
        machines_[corelet]->tasks.spawn(program(machines_[corelet]->env));
    }
    void crash(usize corelet) override {
        machines_[corelet].reset();
        memories_[corelet]->crashed = true;
    }
    void cut(usize one, usize other) override { relays_[one][other].cut = relays_[other][one].cut = true; }
    void mend_all() override {
        for (auto& row : relays_) {
            for (RelayState& state : row) state.mend();
        }
    }
    bool run_until(std::function<bool()> predicate, Duration bound) override {
        Instant const deadline = loop_->clock().now() + bound;
        // Keeps the loop turning, so that the bound is noticed.
        Scope ticking(own_->env().executor);
        ticking.spawn(tick(&own_->env()));
        bool held = false;
        loop_->run_until([&] {
            held = predicate();
            return held || loop_->clock().now() >= deadline;
        });
        return held;
    }
    Address listen_address(usize corelet) const override {
        return Address::unix_path(directory_ + "/" + std::to_string(corelet));
    }
    Address address(usize from, usize to) const override {
        return Address::unix_path(directory_ + "/" + std::to_string(from) + "to" + std::to_string(to));
    }
    std::string device(usize corelet) const override { return directory_ + "/device" + std::to_string(corelet); }

  private:
    struct Machine {
        os::World world;
        LossyDisk disk;
        Env env;
        Scope tasks;
        Machine(os::Loop& loop, Log& log, std::shared_ptr<LossyDisk::Memory> memory, u64 seed)
            : world(loop, log, seed),
              disk(world.env().disk, std::move(memory)),
              env{world.env().executor,
                  world.env().clock,
                  world.env().network,
                  disk,
                  world.env().random,
                  world.env().spawn,
                  log},
              tasks(env.executor) {}
    };
    static Task<void> tick(Env* env) {
        while (true) co_await env->clock.sleep(10_ms);
    }
    std::string directory_;
    std::unique_ptr<os::Loop> loop_;
    std::unique_ptr<Log> log_;
    std::unique_ptr<os::World> own_;
    std::array<std::array<RelayState, k_corelets>, k_corelets> relays_;
    std::unique_ptr<Scope> own_tasks_;
    std::array<std::shared_ptr<LossyDisk::Memory>, k_corelets> memories_;
    std::array<std::unique_ptr<Machine>, k_corelets> machines_;
    u64 boots_ = 0;
};

class EchoOnLinux : public testing::TestWithParam<os::Engine> {};

TEST_P(EchoOnLinux, NumbersAreGivenOnceThroughAPartitionAndDiskCrashes) {
    if (GetParam() == os::Engine::kUring) {
        os::LoopOptions options;
        options.engine = os::Engine::kUring;
        if (!os::Loop::create(options)) GTEST_SKIP() << "io_uring is forbidden here";
    }
    OsHabitat habitat(GetParam());
    Ledger ledger;
    auto const result = run_story(habitat, {}, ledger);
    EXPECT_TRUE(result) << result.error().to_string();
}

TEST_P(EchoOnLinux, OneThatAnswersBeforeItIsDurableIsCaught) {
    os::LoopOptions options;
    options.engine = GetParam();
    if (!os::Loop::create(options)) GTEST_SKIP() << "io_uring is forbidden here";
    OsHabitat habitat(GetParam());
    Ledger ledger;
    StoryOptions story;
    story.forgetful = true;
    EXPECT_FALSE(run_story(habitat, story, ledger));
}

INSTANTIATE_TEST_SUITE_P(Engines, EchoOnLinux, testing::Values(os::Engine::kUring, os::Engine::kEpoll),
                         [](auto const& p) { return p.param == os::Engine::kUring ? "io_uring" : "epoll"; });

}  // namespace
}  // namespace corelet::echo
