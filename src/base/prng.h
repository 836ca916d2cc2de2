// xoshiro256** (Blackman, Vigna 2018): the only source of randomness above the platform. Streams are forked by name
// from the seed, not from the position, so a draw added in one place reshuffles no other.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "base/types.h"

namespace corelet {

class Prng {
  public:
    explicit Prng(u64 seed);
    // An independent stream; the same seed and name always give the same one.
    [[nodiscard]] Prng fork(std::string_view name) const;
    [[nodiscard]] Prng fork(std::string_view name, u64 index) const;

    [[nodiscard]] u64 next();
    // Uniform in [0, bound); bound > 0. Unbiased (Lemire's rejection).
    [[nodiscard]] u64 below(u64 bound);
    // Uniform in [low, high], both included.
    [[nodiscard]] u64 between(u64 low, u64 high) { return low + below(high - low + 1); }
    // True with probability numerator / denominator.
    [[nodiscard]] bool chance(u64 numerator, u64 denominator) { return below(denominator) < numerator; }
    // Draws so far: part of what a simulation compares between two runs.
    [[nodiscard]] u64 draws() const { return draws_; }

    // Fisher-Yates, pinned.
    template <class Container>
    void shuffle(Container& items) {
        for (usize i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
    }

  private:
    u64 seed_;
    std::array<u64, 4> state_;
    u64 draws_ = 0;
};

}  // namespace corelet
