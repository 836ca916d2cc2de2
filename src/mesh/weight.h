// What a corelet weighs by default: its share of data goes by what its device holds. One unit is 16 MiB, so that
// the smallest devices get their share too, and the largest (256 TiB) still fits.
//
// The unit was 1 GiB, with at least 1 for whatever was smaller, and that is what field 10 of a map's corelet says;
// a weight that cannot be told in it stands in field 15 besides. A map that names default weights alone is encoded
// as it ever was. Pure.
#pragma once

#include "base/types.h"

namespace corelet::mesh {

inline constexpr u64 k_weight_unit_bytes = 16 * k_mib;

// At least 1, at most k_weight_max.
[[nodiscard]] u32 default_weight(u64 capacity_bytes);

// As it is told in GiB; 0 stays 0.
[[nodiscard]] u32 weight_in_gib(u32 weight);
// What such a number means for a corelet of that capacity: its default, if it is the default in GiB.
[[nodiscard]] u32 weight_from_gib(u32 gib, u64 capacity_bytes);

}  // namespace corelet::mesh
