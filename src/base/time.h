// Integer nanoseconds. Instants of different clocks are different types; no floating point, no calendar.
#pragma once

#include <compare>

#include "base/types.h"

namespace corelet {

struct Duration {
    i64 ns = 0;
    friend constexpr auto operator<=>(Duration, Duration) = default;
    friend constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
    friend constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
    friend constexpr Duration operator*(Duration a, i64 n) { return {a.ns * n}; }
    friend constexpr Duration operator/(Duration a, i64 n) { return {a.ns / n}; }
    [[nodiscard]] constexpr i64 ms() const { return ns / 1'000'000; }
    [[nodiscard]] constexpr i64 us() const { return ns / 1'000; }
};
inline constexpr Duration k_forever{INT64_MAX / 4};

// A point on a corelet's own monotonic clock (CLOCK_BOOTTIME). Means nothing to any other corelet.
struct Instant {
    i64 ns = 0;
    friend constexpr auto operator<=>(Instant, Instant) = default;
    friend constexpr Instant operator+(Instant a, Duration d) { return {a.ns + d.ns}; }
    friend constexpr Instant operator-(Instant a, Duration d) { return {a.ns - d.ns}; }
    friend constexpr Duration operator-(Instant a, Instant b) { return {a.ns - b.ns}; }
};

// Wall-clock time, for people and logs; never decides anything.
struct WallTime {
    i64 unix_ns = 0;
    friend constexpr auto operator<=>(WallTime, WallTime) = default;
};

namespace literals {
constexpr Duration operator""_s(unsigned long long n) {
    return {static_cast<i64>(n) * 1'000'000'000};
}
constexpr Duration operator""_ms(unsigned long long n) {
    return {static_cast<i64>(n) * 1'000'000};
}
constexpr Duration operator""_us(unsigned long long n) {
    return {static_cast<i64>(n) * 1'000};
}
constexpr Duration operator""_ns(unsigned long long n) {
    return {static_cast<i64>(n)};
}
constexpr Duration operator""_min(unsigned long long n) {
    return {static_cast<i64>(n) * 60'000'000'000};
}
}  // namespace literals
using namespace literals;

}  // namespace corelet
