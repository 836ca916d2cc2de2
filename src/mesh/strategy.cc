#include "mesh/strategy.h"

#include <algorithm>
#include <array>

namespace corelet::mesh {
namespace {
constexpr u8 k_locality = 6;  // with chunks of 8 MiB, half a GiB of a volume in one slot
constexpr std::array<Strategy, 4> k_strategies{{
    {"balanced", "shares by weight, spread over all levels", place_balanced},
    {"locality", "as balanced; neighbouring chunks together, and near their volume's owner", place_balanced,
     k_locality, true},
    {"random", "by weighted lot", place_random},
    {"zone-aware", "equal shares of all zones, whatever they hold", place_zone_aware},
}};
}  // namespace

std::span<const Strategy> strategies() {
    return k_strategies;
}

const Strategy* find_strategy(std::string_view name) {
    for (const Strategy& strategy : k_strategies) {
        if (strategy.name == name) return &strategy;
    }
    return nullptr;
}

u32 domain_cap(std::span<const u32> domain_sizes, unsigned width, unsigned promise) {
    u64 corelets = 0;
    for (u32 size : domain_sizes) corelets += size;
    u64 const wanted = std::min<u64>(width, corelets);
    for (u32 cap = std::max(1U, promise); cap < width; ++cap) {
        u64 fits = 0;
        for (u32 size : domain_sizes) fits += std::min(size, cap);
        if (fits >= wanted) return cap;
    }
    return std::max({1U, promise, width});
}

}  // namespace corelet::mesh
