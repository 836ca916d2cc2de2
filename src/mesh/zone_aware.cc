// Strategy `zone-aware`: as `balanced`, with each corelet's weight scaled so that all zones weigh the same.
#include <algorithm>
#include <map>
#include <string>

#include "mesh/strategy.h"

namespace corelet::mesh {

Placement place_zone_aware(const PlacementRequest& request) {
    std::map<std::string, u64> zones;
    for (const Candidate& candidate : request.candidates) {
        if (candidate.standing != Standing::kLeave)
            zones[candidate.location.domain(Level::kZone)] += candidate.weight;
    }
    std::vector<u32> weights;
    for (const Candidate& candidate : request.candidates) {
        auto const zone = zones.find(candidate.location.domain(Level::kZone));
        bool const counts = candidate.weight > 0 && zone != zones.end() && zone->second > 0;
        // Its part of its zone, in 2^-24; at least something, so that it is not taken for one that stores nothing.
        u64 const part = counts ? (u64{candidate.weight} * k_weight_max) / zone->second : 0;
        weights.push_back(counts ? static_cast<u32>(std::clamp<u64>(part, 1, k_weight_max)) : 0);
    }
    return place_by_weights(request, weights);
}

}  // namespace corelet::mesh
