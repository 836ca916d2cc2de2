// Requests and tables for the tests of placement. Test code only.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mesh/mesh_testing.h"
#include "mesh/strategy.h"

namespace corelet::mesh::testing {

struct Shape {
    unsigned zones = 1, racks = 1, chassis = 1, corelets = 8;  // corelets a chassis
};

// Open candidates 1, 2, ... of one weight.
inline std::vector<Candidate> make_candidates(Shape shape, u32 weight = 100) {
    std::vector<Candidate> all;
    u64 id = 1;
    for (unsigned z = 0; z < shape.zones; ++z) {
        for (unsigned r = 0; r < shape.racks; ++r) {
            for (unsigned c = 0; c < shape.chassis; ++c) {
                for (unsigned i = 0; i < shape.corelets; ++i) {
                    all.push_back({CoreletId(id++),
                                   weight,
                                   Standing::kOpen,
                                   {"z" + std::to_string(z), "r" + std::to_string(r), "c" + std::to_string(c)}});
                }
            }
        }
    }
    return all;
}

inline PlacementRequest make_request(std::vector<Candidate> candidates, unsigned width, unsigned promise,
                                     Level level = Level::kCorelet) {
    PlacementRequest request;
    request.slots = slots_for(candidates.size());
    request.width = width;
    request.promise = promise;
    request.level = level;
    request.candidates = std::move(candidates);
    request.seed = 7;
    return request;
}

inline TablePtr table_of(const PlacementRequest& request, const Placement& placement) {
    return SlotTable::make(MapEpoch(1), request.slots, request.width, placement.cells).value();
}

// Places whose corelet differs; a table with twice the slots is compared with the smaller one doubled.
inline u32 moved(const SlotTable& before, const SlotTable& after) {
    u32 out = 0;
    for (u32 slot = 0; slot < after.slots(); ++slot) {
        for (unsigned i = 0; i < after.width(); ++i)
            out += before.at(slot % before.slots(), i) != after.at(slot, i);
    }
    return out;
}

// The most places of one slot in one domain. The table has no holes, and candidates of the request only.
inline u32 most_in_a_domain(const PlacementRequest& request, const SlotTable& table, Level level) {
    std::map<CoreletId, std::string> domains;
    for (const Candidate& c : request.candidates) domains[c.id] = c.location.domain(level);
    u32 most = 0;
    for (u32 slot = 0; slot < table.slots(); ++slot) {
        std::map<std::string, u32> in;
        for (CoreletId id : table.row(slot)) most = std::max(most, ++in[domains.at(id)]);
    }
    return most;
}

}  // namespace corelet::mesh::testing
