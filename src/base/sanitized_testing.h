// How much of a random test runs under the sanitizers, which make it ten times as long.
#pragma once

#include "base/types.h"

namespace corelet::testing {

// Of so many seeds those that run in this build: all, or under the sanitizers the first quarter.
[[nodiscard]] constexpr u64 seeds_here(u64 all) {
#if __has_feature(address_sanitizer)
    return all / 4;
#else
    return all;
#endif
}

}  // namespace corelet::testing
