// Invariants, checked in release too. A failed one is a programmer's error: it prints where and what, then aborts,
// because a storage process that no longer knows its own state must not write. Never used on outside input.
#pragma once

namespace corelet {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line, const char* message);
}  // namespace corelet

#define CORELET_ASSERT(condition, ...)                 \
    (__builtin_expect(static_cast<bool>(condition), 1) \
         ? static_cast<void>(0)                        \
         : ::corelet::assertion_failed(#condition, __FILE__, __LINE__, "" __VA_ARGS__))
#define CORELET_UNREACHABLE(message) ::corelet::assertion_failed("unreachable", __FILE__, __LINE__, message)
