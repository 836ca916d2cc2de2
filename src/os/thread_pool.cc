#include "os/thread_pool.h"

#include <pthread.h>

#include <csignal>

namespace corelet::os {

namespace {
// The pool's threads take no signals: they belong to the loop's.
std::thread start_without_signals(std::function<void()> body) {
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    std::thread thread(std::move(body));
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return thread;
}
}  // namespace

void ThreadPool::run(std::move_only_function<void()> work) {
    std::lock_guard const lock(mutex_);
    queue_.push_back(std::move(work));
    if (idle_ < queue_.size() && threads_.size() < threads_max_) {
        threads_.push_back(start_without_signals([this] { serve(); }));
        ::pthread_setname_np(threads_.back().native_handle(), name_.c_str());
    }
    arrived_.notify_one();
}

usize ThreadPool::threads() const {
    std::lock_guard const lock(mutex_);
    return threads_.size();
}

void ThreadPool::serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
        ++idle_;
        arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        --idle_;
        if (queue_.empty()) return;
        {
            auto work = std::move(queue_.front());
            queue_.pop_front();
            lock.unlock();
            work();
        }
        lock.lock();
    }
}

ThreadPool::~ThreadPool() {
    {
        std::lock_guard const lock(mutex_);
        stopping_ = true;
    }
    arrived_.notify_all();
    for (std::thread& thread : threads_) thread.join();
}

}  // namespace corelet::os
