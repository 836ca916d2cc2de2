#include "base/assert.h"

#include <cstdio>
#include <cstdlib>

namespace corelet {

void assertion_failed(const char* expression, const char* file, int line, const char* message) {
    std::fprintf(stderr, "corelet: %s:%d: assertion failed: %s%s%s\n", file, line, expression, *message ? ": " : "",
                 message);
    std::fflush(stderr);
    std::abort();
}

}  // namespace corelet
