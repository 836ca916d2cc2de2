#include "device/telemetry.h"

#include "base/assert.h"

namespace corelet {

Duration LatencyHistogram::quantile(u64 numerator, u64 denominator) const {
    CORELET_ASSERT(denominator > 0 && numerator <= denominator);
    if (count_ == 0) return {};
    u64 const wanted = std::max<u64>(1, static_cast<u64>(div_ceil(count_ * numerator, denominator)));
    u64 seen = 0;
    for (usize i = 0; i < k_buckets; ++i) {
        seen += counts_[i];
        if (seen >= wanted) return {i64{1} << (i + 1)};
    }
    CORELET_UNREACHABLE("the buckets hold fewer than were counted");
}

}  // namespace corelet
