#include "os/loop.h"

#include <cerrno>
#include <cstdlib>

#include "os/errors.h"

namespace corelet::os {

namespace {

// Resumptions of one executor before the kernel is asked again: tasks that keep each other busy must not starve
// sockets.
constexpr usize k_resumptions_per_turn = 1024;

Result<std::unique_ptr<Reactor>> choose_reactor(Engine engine, Inbox& inbox) {
    if (engine == Engine::kUring) return make_uring_reactor();
    const char* const forbidden = std::getenv("CORELET_NO_URING");  // NOLINT(concurrency-mt-unsafe): nobody sets it
    bool const by_choice = engine == Engine::kEpoll || (forbidden && std::string_view(forbidden) == "1");
    if (!by_choice) {
        auto reactor = make_uring_reactor();
        if (reactor) return reactor;
    }
    return make_epoll_reactor(inbox);
}

}  // namespace

Result<std::unique_ptr<Loop>> Loop::create(LoopOptions options) {
    std::unique_ptr<Loop> loop(new Loop(options));
    TRY_VOID(loop->start());
    return loop;
}

Result<void> Loop::start() {
    TRY(inbox_, Inbox::create());
    TRY(reactor_, choose_reactor(options_.engine, *inbox_));
    workers_ = std::make_unique<ThreadPool>("corelet-offload", options_.offload_threads);
    Descriptor event(::dup(inbox_->event_fd()));
    if (!event.valid()) return fail_errno(errno, "watching the inbox");
    TRY(auto watch, reactor_->watch(std::move(event)));
    attach(own_executor_);
    own_tasks_.emplace(own_executor_);
    own_tasks_->spawn(serve_inbox(std::move(watch)));
    return {};
}

Loop::~Loop() {
    own_tasks_.reset();
    workers_.reset();
    // Its threads and the kernel may still finish requests, whose completions lie in the inbox.
    reactor_.reset();
    if (inbox_) inbox_->drain();
}

Task<void> Loop::serve_inbox(std::shared_ptr<Watch> watch) {
    for (;;) {
        inbox_->drain();
        co_await watch->ready(Direction::kRead);
    }
}

void Loop::attach(Executor& executor) {
    CORELET_ASSERT(std::ranges::find(executors_, &executor) == executors_.end(), "attached twice");
    executors_.push_back(&executor);
}

void Loop::detach(Executor& executor) {
    auto const at = std::ranges::find(executors_, &executor);
    CORELET_ASSERT(at != executors_.end());
    *at = nullptr;
}

void Loop::stop() {
    stopping_.store(true, std::memory_order_release);
    inbox_->wake();
}

void Loop::run() {
    run_until([this] { return stopping_.load(std::memory_order_acquire); });
    stopping_.store(false, std::memory_order_relaxed);
}

bool Loop::work() {
    ++turns_;
    clock_.fire_due();
    // By index: a task may attach another executor.
    for (usize i = 0; i < executors_.size(); ++i) {
        if (executors_[i] && executors_[i]->has_ready()) executors_[i]->run_ready(k_resumptions_per_turn);
    }
    std::erase(executors_, nullptr);
    // An earlier one may have been woken by a later one.
    return std::ranges::any_of(executors_, [](const Executor* executor) { return executor->has_ready(); });
}

void Loop::rest(bool busy) {
    Duration const timeout = busy ? Duration{0} : clock_.until_next();
    Duration const spin = timeout.ns > 0 ? spin_.next() : Duration{0};
    TurnEnd const end = reactor_->turn(timeout, spin);
    if (spin.ns > 0 && end != TurnEnd::kAtOnce) spin_.spun(end == TurnEnd::kAwake);
}

}  // namespace corelet::os
