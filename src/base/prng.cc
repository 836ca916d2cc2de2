#include "base/prng.h"

#include <bit>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet {

Prng::Prng(u64 seed) : seed_(seed) {
    for (usize i = 0; i < state_.size(); ++i) state_[i] = hash64(seed, i + 1);
}

Prng Prng::fork(std::string_view name) const {
    return Prng(hash64(seed_, hash64(name)));
}
Prng Prng::fork(std::string_view name, u64 index) const {
    return Prng(hash64(seed_, hash64(name), index));
}

u64 Prng::next() {
    ++draws_;
    u64 const result = std::rotl(state_[1] * 5, 7) * 9;
    u64 const t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
}

u64 Prng::below(u64 bound) {
    CORELET_ASSERT(bound > 0);
    u128 product = static_cast<u128>(next()) * bound;
    if (static_cast<u64>(product) < bound) {
        u64 const threshold = (0 - bound) % bound;
        while (static_cast<u64>(product) < threshold) product = static_cast<u128>(next()) * bound;
    }
    return static_cast<u64>(product >> 64);
}

}  // namespace corelet
