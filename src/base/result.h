// Operating errors travel as values: Result<T> is std::expected<T, Error>. Programmers' errors abort
// (base/assert.h); exceptions stop at third-party borders.
#pragma once

#include <expected>
#include <string>
#include <utility>

#include "base/types.h"

namespace corelet {

// What went wrong, as far as a program needs to know to react. Carried on the wire: numbers are never reused.
enum class Code : u16 {
    kIo = 1,            // a device or the kernel failed the operation; final for a device (design rule 2)
    kCorrupt = 2,       // bytes do not verify
    kUnknown = 3,       // "I do not know": the thing is not here, which proves nothing about elsewhere
    kNotFound = 4,      // proven absent, by an authority (catalog, table owner)
    kExists = 5,        // name is taken
    kConflict = 6,      // compare-and-set lost
    kFenced = 7,        // a newer epoch, or another owner of this one, is known here
    kStaleMap = 8,      // caller's map epoch or table differs; `detail` is the epoch known here
    kTimeout = 9,       // deadline passed; the operation may or may not have happened
    kCancelled = 10,    // dropped by its issuer
    kClosed = 11,       // the connection or object is closed
    kReset = 12,        // the peer reset the connection
    kNoSpace = 13,      // full: reads, trims and deletes go on
    kOverloaded = 14,   // a bound was reached; try again later
    kInvalid = 15,      // the request makes no sense, and will not at any later time
    kUnavailable = 16,  // cannot be decided now (no quorum, no owner, recovering); try again
    kNotOwner = 17,     // ask another corelet; `detail` is its id if known
    kForgotten = 18,    // this device has forgotten promises (protocols 1.3) and will not answer for them
    kDenied = 19,       // not allowed
    kUnsupported = 20,  // this version does not know how
    kNotLeader = 21,    // of the catalog; `detail` is the leader's id if known
    kShutdown = 22,     // the corelet is stopping
    kLost = 23,         // more is lost than the redundancy survives; said only with proof
};
[[nodiscard]] const char* code_name(Code code);

struct Error {
    Code code = Code::kIo;
    bool injected = false;  // by the simulator or a fault point
    u64 detail = 0;
    std::string message;  // what, why, and what to do; for people

    [[nodiscard]] bool is_retryable() const;
    [[nodiscard]] bool is_corruption() const { return code == Code::kCorrupt; }
    [[nodiscard]] std::string to_string() const;
};

template <class T = void>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Code code, std::string message = {}, u64 detail = 0) {
    return std::unexpected<Error>(Error{code, false, detail, std::move(message)});
}
// Puts `context` before what an inner layer said.
[[nodiscard]] Error with_context(Error error, std::string_view context);

}  // namespace corelet

#define CORELET_CONCAT_INNER(a, b) a##b
#define CORELET_CONCAT(a, b) CORELET_CONCAT_INNER(a, b)
#define CORELET_TRY_IMPL(ret, tmp, declaration, ...)       \
    auto tmp = (__VA_ARGS__);                              \
    if (!tmp) ret std::unexpected(std::move(tmp).error()); \
    declaration = *std::move(tmp)

// TRY(auto x, f()): x is the value, or this function returns the error. CO_ forms are for coroutines, and the
// expression may hold a co_await. _VOID forms drop the value.
#define TRY(declaration, ...) CORELET_TRY_IMPL(return, CORELET_CONCAT(try_, __LINE__), declaration, __VA_ARGS__)
#define CO_TRY(declaration, ...) \
    CORELET_TRY_IMPL(co_return, CORELET_CONCAT(try_, __LINE__), declaration, __VA_ARGS__)
#define TRY_VOID(...)                                                       \
    do {                                                                    \
        auto try_void = (__VA_ARGS__);                                      \
        if (!try_void) return std::unexpected(std::move(try_void).error()); \
    } while (false)
#define CO_TRY_VOID(...)                                                       \
    do {                                                                       \
        auto try_void = (__VA_ARGS__);                                         \
        if (!try_void) co_return std::unexpected(std::move(try_void).error()); \
    } while (false)
