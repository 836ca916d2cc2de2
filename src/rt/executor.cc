#include "rt/executor.h"

#include <cstdio>
#include <cstdlib>

#include "rt/frame_pool.h"
#include "rt/scope.h"

namespace corelet {

void* PromiseBase::operator new(usize size) {
    return allocate_frame(size);
}
void PromiseBase::operator delete(void* memory, usize size) noexcept {
    free_frame(memory, size);
}

namespace detail {
void unhandled_exception() {
    // An exception that reached a coroutine's edge crossed a border it should have been caught at.
    CORELET_UNREACHABLE("exception escaped from a task");
}
}  // namespace detail

void Waiter::make_ready() {
    executor().make_ready(*this);
}

Executor::~Executor() {
    CORELET_ASSERT(!is_running(), "an executor cannot be destroyed by a task it runs");
    CORELET_ASSERT(roots_.empty(), "tasks outlive their executor");
}

void Executor::make_ready(Waiter& waiter) {
    CORELET_ASSERT(waiter.handle_, "made ready without being suspended");
    waiter.unlink();
    bool const was_idle = ready_.empty();
    ready_.push_back(waiter);
    if (was_idle && !running_ && wakeup_) wakeup_();
}

usize Executor::run_ready(usize limit) {
    CORELET_ASSERT(!running_, "the executor is not reentrant");
    static constexpr usize k_pick_window = 16;
    usize done = 0;
    while (done < limit && !ready_.empty()) {
        Waiter* waiter = &ready_.front();
        if (picker_) {
            waiter = &ready_.at(picker_(ready_.count(k_pick_window)));
        }
        waiter->unlink();
        auto const handle = std::exchange(waiter->handle_, {});
        resume(handle, waiter->promise_);
        ++done;
    }
    return done;
}

void Executor::resume(std::coroutine_handle<> handle, PromiseBase* promise) {
    while (handle) {
        running_ = promise;
        next_ = {};
        ++resumptions_;
        handle.resume();
        handle = next_;
        promise = next_promise_;
        if (doomed_) {
            bury();
            handle = {};
        }
    }
    running_ = nullptr;
    next_ = {};
}

void Executor::bury() {
    RootFrame* const doomed = std::exchange(doomed_, nullptr);
    running_ = nullptr;
    doomed->handle_.destroy();
}

std::string Executor::backtrace() const {
    std::string out;
    usize index = 0;
    auto& roots = const_cast<IntrusiveList<RootFrame>&>(roots_);
    roots.for_each([&](RootFrame& root) {
        out += "task " + std::to_string(index++) + (root.scope_ ? "" : " (dropped)") + "\n";
        for (const PromiseBase* p = root.promise_->child; p; p = p->child) {
            out += std::string("  ") + p->where.function_name() + "  at " + p->where.file_name() + ":" +
                   std::to_string(p->where.line()) + "\n";
        }
    });
    return out;
}

}  // namespace corelet
