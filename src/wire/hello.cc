#include "wire/hello.h"

#include <fmt/format.h>

namespace corelet {

Result<u16> negotiate_version(const Hello& mine, const Hello& theirs) {
    u16 const highest = std::min(mine.version_max, theirs.version_max);
    u16 const lowest = std::max(mine.version_min, theirs.version_min);
    if (theirs.version_min <= theirs.version_max && lowest <= highest) return highest;
    return fail(
        Code::kUnsupported,
        fmt::format("no common version of the wire protocol: {} to {} here, {} to {} there; upgrade the older",
                    mine.version_min, mine.version_max, theirs.version_min, theirs.version_max));
}

}  // namespace corelet
