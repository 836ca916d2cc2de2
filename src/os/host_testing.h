// What the tests of this folder share: a host per engine, a directory of its own, and waiting for conditions.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "os/world.h"

namespace corelet::os {

class HostTest : public testing::TestWithParam<Engine> {
  protected:
    void SetUp() override;
    void TearDown() override;

    [[nodiscard]] Env& env() { return host_->env(); }
    [[nodiscard]] Loop& loop() { return host_->loop(); }
    [[nodiscard]] std::string path(std::string_view name) const { return directory_ + "/" + std::string(name); }
    template <class T>
    T run(Task<T> task) {
        return host_->run_until_done(std::move(task));
    }
    // Lets others run until `done` says so; the test's timeout is the only bound.
    template <class Done>
    void run_until(Done done) {
        loop().run_until([&] {
            // Nothing may happen in the kernel when it turns true: look again soon.
            wake_.arm_again(loop().clock());
            return done();
        });
        wake_.disarm();
    }

    std::string directory_;
    std::unique_ptr<Host> host_;

  private:
    struct Wake final : Timer {
        void fire() override {}
        void arm_again(Clock& clock) {
            if (!is_armed()) clock.arm(*this, clock.now() + 1_ms);
        }
    };
    Wake wake_;
};

// `count` bytes that differ from place to place and from one seed to another.
[[nodiscard]] Buffer pattern(usize count, u64 seed);

#define CORELET_ON_BOTH_ENGINES(Suite)                                                        \
    INSTANTIATE_TEST_SUITE_P(Engines, Suite, testing::Values(Engine::kUring, Engine::kEpoll), \
                             [](auto& info) { return info.param == Engine::kUring ? "uring" : "epoll"; })

}  // namespace corelet::os
