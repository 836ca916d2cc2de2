#include "os/random.h"

#include <sys/random.h>

#include <cerrno>

#include "base/assert.h"

namespace corelet::os {

u64 os_random_seed() {
    u64 seed = 0;
    ssize_t got = 0;
    do {
        got = ::getrandom(&seed, sizeof seed, 0);
    } while (got < 0 && errno == EINTR);
    CORELET_ASSERT(got == sizeof seed, "the kernel gives no randomness");
    return seed;
}

}  // namespace corelet::os
