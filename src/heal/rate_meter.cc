#include "heal/rate_meter.h"

#include <algorithm>

namespace corelet {

void RateMeter::begin(Instant now) {
    if (began_) return;
    began_ = now;
    bytes_.fill(0);
    last_ = second_of(now);
}

void RateMeter::roll_to(i64 second) {
    if (second - last_ >= static_cast<i64>(k_seconds)) bytes_.fill(0);
    for (i64 each = std::max(last_ + 1, second - static_cast<i64>(k_seconds) + 1); each <= second; ++each)
        bytes_[static_cast<usize>(each) % k_seconds] = 0;
    last_ = std::max(last_, second);
}

void RateMeter::done(u64 bytes, Instant now) {
    begin(now);
    roll_to(second_of(now));
    bytes_[static_cast<usize>(last_) % k_seconds] += bytes;
}

RateMeter::Done RateMeter::lately(Instant now) const {
    if (!began_) return {};
    RateMeter rolled = *this;
    rolled.roll_to(second_of(now));
    u64 done = 0;
    for (u64 each : rolled.bytes_) done += each;
    // Of the oldest second in the window only a part may belong to the work.
    Instant const window{(second_of(now) - static_cast<i64>(k_seconds) + 1) * 1'000'000'000};
    return {done, std::max(now - std::max(*began_, window), 1_ms)};
}

std::optional<Duration> RateMeter::time_for(u64 bytes, Instant now) const {
    if (bytes == 0) return Duration{};
    Done const done = lately(now);
    if (done.bytes == 0) return std::nullopt;
    return Duration{static_cast<i64>(static_cast<u128>(bytes) * static_cast<u64>(done.spent.ns) / done.bytes)};
}

u64 RateMeter::bytes_per_second(Instant now) const {
    Done const done = lately(now);
    if (done.bytes == 0) return 0;
    return static_cast<u64>(static_cast<u128>(done.bytes) * 1'000'000'000 / static_cast<u64>(done.spent.ns));
}

}  // namespace corelet
