// One program's Env on some platform, for tests that must hold on all of them. Addresses and paths are the
// platform's own.
#pragma once

#include <gtest/gtest.h>

#include "rt/env.h"

namespace corelet::parity {

class Platform {
  public:
    virtual ~Platform() = default;
    [[nodiscard]] virtual Env& env() = 0;
    // Runs the task, and all others of the program, until it is done.
    virtual void run(Task<void> task) = 0;
    [[nodiscard]] virtual Address tcp_any() const = 0;                   // of this machine, port 0
    [[nodiscard]] virtual std::string path(std::string name) const = 0;  // for files and unix sockets
};

using Factory = std::unique_ptr<Platform> (*)();
[[nodiscard]] std::unique_ptr<Platform> make_uring();  // none where it is forbidden
[[nodiscard]] std::unique_ptr<Platform> make_epoll();
[[nodiscard]] std::unique_ptr<Platform> make_sim();

struct Named {
    const char* name;
    Factory factory;
};

// A test on each platform.
class Parity : public testing::TestWithParam<Named> {
  protected:
    void SetUp() override {
        platform = GetParam().factory();
        if (!platform) GTEST_SKIP() << GetParam().name << " is not allowed here";
    }
    [[nodiscard]] Env& env() { return platform->env(); }
    template <class T>
    T run(Task<T> task) {
        std::optional<T> out;
        platform->run(keep(std::move(task), &out));
        CORELET_ASSERT(out.has_value(), "the task did not end");
        return *std::move(out);
    }
    void run(Task<void> task) { platform->run(std::move(task)); }
    std::unique_ptr<Platform> platform;

  private:
    template <class T>
    static Task<void> keep(Task<T> task, std::optional<T>* out) {
        out->emplace(co_await std::move(task));
    }
};

#define CORELET_PARITY(suite)                                                                                     \
    INSTANTIATE_TEST_SUITE_P(                                                                                     \
        Platforms, suite,                                                                                         \
        testing::Values(Named{"io_uring", make_uring}, Named{"epoll", make_epoll}, Named{"simulator", make_sim}), \
        [](auto const& info) { return std::string(info.param.name); })

}  // namespace corelet::parity
