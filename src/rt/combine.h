// Tasks side by side: all of several, or one with a deadline.
#pragma once

#include <vector>

#include "base/result.h"
#include "rt/clock.h"
#include "rt/scope.h"
#include "rt/sync.h"

namespace corelet {

namespace detail {
template <class T>
Task<void> store_result(Task<T> task, std::optional<T>* slot) {
    slot->emplace(co_await std::move(task));
}
template <class T>
Task<void> store_and_set(Task<T> task, std::optional<T>* slot, Event* done) {
    slot->emplace(co_await std::move(task));
    done->set();
}
}  // namespace detail

// Runs all beside each other and returns their results in the order given.
template <class T>
Task<std::vector<T>> join_all(std::vector<Task<T>> tasks) {
    std::vector<std::optional<T>> slots(tasks.size());
    Scope scope(co_await this_executor());
    for (usize i = 0; i < tasks.size(); ++i) scope.spawn(detail::store_result<T>(std::move(tasks[i]), &slots[i]));
    co_await scope.join();
    std::vector<T> results;
    results.reserve(slots.size());
    for (auto& slot : slots) results.push_back(*std::move(slot));
    co_return results;
}

// The task's result, or kTimeout when `deadline` comes first; the task is dropped then.
template <class T>
Task<Result<T>> with_deadline(Clock& clock, Instant deadline, Task<Result<T>> task) {
    std::optional<Result<T>> slot;
    Event done;
    Scope scope(co_await this_executor());
    scope.spawn(detail::store_and_set<Result<T>>(std::move(task), &slot, &done));
    co_await done.wait_until(clock, deadline);
    if (slot) co_return *std::move(slot);
    co_return fail(Code::kTimeout, "deadline passed");
}
template <class T>
Task<Result<T>> with_timeout(Clock& clock, Duration timeout, Task<Result<T>> task) {
    return with_deadline<T>(clock, clock.now() + timeout, std::move(task));
}

}  // namespace corelet
