// How fast work gets on, and so when it will be done. Pure: time comes in.
#pragma once

#include <array>
#include <optional>

#include "base/time.h"

namespace corelet {

// Counts bytes over the last half minute in which there was work.
class RateMeter {
  public:
    // There is work from now on; again is nothing.
    void begin(Instant now);
    // There is none any more.
    void end() { began_.reset(); }
    void done(u64 bytes, Instant now);
    // By the rate of the last half minute. Empty: nothing was done yet, so nothing is known.
    [[nodiscard]] std::optional<Duration> time_for(u64 bytes, Instant now) const;
    // Over the last half minute in which there was work; 0: nothing is done now.
    [[nodiscard]] u64 bytes_per_second(Instant now) const;

  private:
    static constexpr usize k_seconds = 30;
    [[nodiscard]] static i64 second_of(Instant now) { return now.ns / 1'000'000'000; }
    void roll_to(i64 second);
    struct Done {
        u64 bytes = 0;
        Duration spent;
    };
    [[nodiscard]] Done lately(Instant now) const;
    std::optional<Instant> began_;
    std::array<u64, k_seconds> bytes_{};  // by second, modulo
    i64 last_ = 0;
};

}  // namespace corelet
