// The event loop: drives one or more executors (corelets) on one thread, and sleeps in the kernel when none has
// work.
#pragma once

#include <atomic>
#include <optional>

#include "os/clock.h"
#include "os/inbox.h"
#include "os/reactor.h"
#include "os/spin_governor.h"
#include "os/thread_pool.h"
#include "rt/scope.h"

namespace corelet::os {

enum class Engine : u8 {
    kAuto,  // io_uring where it is allowed (and CORELET_NO_URING is not set), else epoll
    kUring,
    kEpoll,
};

struct LoopOptions {
    Engine engine = Engine::kAuto;
    // How long to stay awake for the next event before sleeping, as long as events come in time. For machines with
    // cores to spare, some 50 us: two corelets that answer each other across cores then cost a quarter. 0: never.
    Duration spin{0};
    // Threads for offloaded work, started when needed.
    usize offload_threads = 4;
};

// Made, run and destroyed on one thread; outlives all that was made with it.
class Loop {
  public:
    // Errors: kOverloaded (no descriptors left), kUnsupported or kDenied (kUring where it is forbidden).
    [[nodiscard]] static Result<std::unique_ptr<Loop>> create(LoopOptions options = {});
    ~Loop();
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;

    // Drives `executor` from now on, until it is detached. Both may be called by a task.
    void attach(Executor& executor);
    void detach(Executor& executor);

    // Runs until stop().
    void run();
    // Any thread; run() returns after its present turn.
    void stop();
    // Runs until `task` is done, with all that is attached; for tools and tests.
    template <class T>
    T run_until_done(Executor& executor, Task<T> task);
    // Runs until `done` says so, asking whenever the executors have run.
    template <class Done>
    void run_until(Done done) {
        for (;;) {
            bool const busy = work();
            if (done()) return;
            rest(busy);
        }
    }

    // "io_uring" or "epoll".
    [[nodiscard]] std::string_view engine_name() const { return reactor_->name(); }
    [[nodiscard]] LinuxClock& clock() { return clock_; }
    [[nodiscard]] Reactor& reactor() { return *reactor_; }
    [[nodiscard]] Inbox& inbox() { return *inbox_; }
    [[nodiscard]] ThreadPool& workers() { return *workers_; }
    // Turns taken so far, for measurements.
    [[nodiscard]] u64 turns() const { return turns_; }

  private:
    explicit Loop(LoopOptions options) : options_(options), spin_(options.spin) {}
    [[nodiscard]] Result<void> start();
    // Fires what is due and runs what is ready, within a bound; true if more is ready.
    bool work();
    // Submits to the kernel and takes what it has; sleeps unless busy.
    void rest(bool busy);
    [[nodiscard]] Duration spin_now() const;
    [[nodiscard]] Task<void> serve_inbox(std::shared_ptr<Watch> watch);

    LoopOptions options_;
    LinuxClock clock_;
    std::unique_ptr<Inbox> inbox_;
    std::unique_ptr<Reactor> reactor_;
    std::unique_ptr<ThreadPool> workers_;
    std::vector<Executor*> executors_;  // null: detached during a turn
    std::atomic<bool> stopping_ = false;
    SpinGovernor spin_;
    u64 turns_ = 0;
    Executor own_executor_;
    std::optional<Scope> own_tasks_;
};

namespace detail {
template <class T>
Task<void> finish_into(Task<T> task, std::optional<T>* result) {
    result->emplace(co_await std::move(task));
}
inline Task<void> finish_into(Task<void> task, bool* done) {
    co_await std::move(task);
    *done = true;
}
}  // namespace detail

template <class T>
T Loop::run_until_done(Executor& executor, Task<T> task) {
    Scope scope(executor);
    if constexpr (std::is_void_v<T>) {
        bool done = false;
        scope.spawn(detail::finish_into(std::move(task), &done));
        run_until([&] { return done; });
    } else {
        std::optional<T> result;
        scope.spawn(detail::finish_into<T>(std::move(task), &result));
        run_until([&] { return result.has_value(); });
        return *std::move(result);
    }
}

}  // namespace corelet::os
