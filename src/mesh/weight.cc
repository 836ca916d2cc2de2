#include "mesh/weight.h"

#include <algorithm>

#include "mesh/strategy.h"

namespace corelet::mesh {

namespace {

constexpr u64 k_units_a_gib = k_gib / k_weight_unit_bytes;

u32 default_in_gib(u64 capacity_bytes) {
    return static_cast<u32>(std::clamp<u64>(capacity_bytes / k_gib, 1, k_weight_max));
}

}  // namespace

u32 default_weight(u64 capacity_bytes) {
    return static_cast<u32>(std::clamp<u64>(capacity_bytes / k_weight_unit_bytes, 1, k_weight_max));
}

u32 weight_in_gib(u32 weight) {
    return weight == 0 ? 0 : static_cast<u32>(std::max<u64>(weight / k_units_a_gib, 1));
}

u32 weight_from_gib(u32 gib, u64 capacity_bytes) {
    if (gib == 0) return 0;
    if (capacity_bytes != 0 && gib == default_in_gib(capacity_bytes)) return default_weight(capacity_bytes);
    return static_cast<u32>(std::min<u64>(gib * k_units_a_gib, k_weight_max));
}

}  // namespace corelet::mesh
