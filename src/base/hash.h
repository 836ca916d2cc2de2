// Pinned 64-bit hashing: what it returns is part of the placement and never changes (golden vectors in
// hash_test.cc).
#pragma once

#include <string_view>

#include "base/types.h"

namespace corelet {

// Finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which each input bit reaches all
// others.
[[nodiscard]] constexpr u64 mix64(u64 x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}
[[nodiscard]] constexpr u64 hash64(u64 a) {
    return mix64(a);
}
template <class... Rest>
[[nodiscard]] constexpr u64 hash64(u64 a, Rest... rest) {
    return mix64(a ^ (hash64(static_cast<u64>(rest)...) * 0x9FB21C651E98DF25ULL));
}
// FNV-1a, then mixed.
[[nodiscard]] constexpr u64 hash64(std::string_view text) {
    u64 h = 0xCBF29CE484222325ULL;
    for (char c : text) h = (h ^ static_cast<u8>(c)) * 0x100000001B3ULL;
    return mix64(h);
}

}  // namespace corelet
