// Where a process's randomness comes from; everything else is drawn from a Prng seeded with it.
#pragma once

#include "base/types.h"

namespace corelet::os {

// 64 bits from the kernel (getrandom). Aborts if it has none.
[[nodiscard]] u64 os_random_seed();

}  // namespace corelet::os
