// Threads for what blocks. Started when first needed, up to a bound; idle ones cost nothing.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/types.h"

namespace corelet::os {

class ThreadPool {
  public:
    // `name`: at most 15 characters, as shown by top and perf.
    ThreadPool(std::string name, usize threads_max) : name_(std::move(name)), threads_max_(threads_max) {}
    // Waits until all work handed over is done.
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    // Queued without bound: callers bound what they have outstanding.
    void run(std::move_only_function<void()> work);
    [[nodiscard]] usize threads() const;

  private:
    void serve();
    std::string name_;
    usize threads_max_;
    mutable std::mutex mutex_;
    std::condition_variable arrived_;
    std::deque<std::move_only_function<void()>> queue_;
    std::vector<std::thread> threads_;
    usize idle_ = 0;
    bool stopping_ = false;
};

}  // namespace corelet::os
