// wire/hello.h: what a stranger says first. What decodes encodes to the same again, and any two ranges of versions
// are judged without surprise.
#include "wire/hello.h"

#include "base/assert.h"
#include "wire/frame.h"

using namespace corelet;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    auto const hello = decode_hello(Bytes(data, size));
    if (!hello) return 0;
    CORELET_ASSERT((hello->role == PeerRole::kCorelet) != hello->corelet.is_zero());
    auto const again = decode_hello(encode_hello(*hello));
    CORELET_ASSERT(again && *again == *hello);
    if (auto const version = negotiate_version(Hello{}, *hello)) {
        CORELET_ASSERT(*version >= k_wire_version_min && *version <= k_wire_version);
        CORELET_ASSERT(*version >= hello->version_min && *version <= hello->version_max);
    }
    return 0;
}
