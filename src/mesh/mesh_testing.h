// Small meshes for tests.
#pragma once

#include <gtest/gtest.h>

#include "mesh/transition.h"

namespace corelet::mesh::testing {

inline Corelet make_corelet(u64 id, std::string_view location = "z/r/c", Role role = Role::kStorage) {
    Corelet corelet;
    corelet.id = CoreletId(id);
    corelet.incarnation = Incarnation(1);
    corelet.addresses = {"tcp:10.0.0." + std::to_string(id % 250) + ":7000"};
    corelet.location = Location::parse(location).value();
    corelet.role = role;
    corelet.capacity_bytes = 100 * k_gib;
    return corelet;
}

// Applies an event that must succeed.
inline Map after(const Map& map, const MapEvent& event) {
    auto next = apply_event(map, event);
    if (!next) ADD_FAILURE() << next.error().to_string();
    return next ? *std::move(next) : map;
}

inline Map with_corelet(const Map& map, const Corelet& corelet) {
    return after(after(map, CoreletJoined{corelet}), CoreletUp{corelet.id, corelet.incarnation, {}});
}

// Corelets 1..n, up, each in a chassis of its own unless `location` says otherwise.
inline Map make_map(u64 n, const std::function<std::string(u64)>& location = {}) {
    Map map = first_map(MeshId(0xC0DE));
    for (u64 id = 1; id <= n; ++id) {
        std::string const where = location ? location(id) : "z/r/c" + std::to_string(id);
        map = with_corelet(map, make_corelet(id, where));
    }
    return map;
}

inline Map with_pool(const Map& map, std::string_view redundancy, Level level = Level::kChassis,
                     std::string name = "main") {
    PoolSpec spec;
    spec.name = std::move(name);
    spec.redundancy = Redundancy::parse(redundancy).value();
    spec.level = level;
    return after(map, PoolCreated{spec});
}

// Everybody who is up reports the current table of the first pool clean.
inline Map all_clean(Map map) {
    auto const members = map.corelets;
    for (const Corelet& corelet : members) {
        if (!corelet.is_up()) continue;
        const SlotTable& table = map.pools[0].current();
        map = after(map, SlotsClean{map.pools[0].id, corelet.id, table.epoch(), table.hash()});
    }
    return map;
}

inline unsigned holes(const SlotTable& table) {
    return static_cast<unsigned>(std::count(table.indexes().begin(), table.indexes().end(), u16{0}));
}

}  // namespace corelet::mesh::testing
