// An operation that its caller may stop waiting for but that runs to its end all the same: half done, it would
// leave a write under way to a place that is about to be given to somebody else.
#pragma once

#include <memory>

#include "rt/scope.h"
#include "rt/sync.h"

namespace corelet {

namespace detail {
template <class T>
Task<void> complete_with(Task<T> operation, std::shared_ptr<Completion<T>> done) {
    done->complete(co_await std::move(operation));
}
}  // namespace detail

// Runs `operation` in `scope`, which must outlive the wait.
template <class T>
Task<T> run_detached(Scope* scope, Task<T> operation) {
    auto done = std::make_shared<Completion<T>>();
    scope->spawn(detail::complete_with<T>(std::move(operation), done));
    co_return co_await done->wait();
}

}  // namespace corelet
