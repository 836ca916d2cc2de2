// What a change of the map will move, before it is made: the same transitions that the mesh itself makes, applied
// to a copy of its map, and the difference between the tables before and after. Pure.
#pragma once

#include <functional>
#include <map>
#include <span>

#include "base/time.h"
#include "mesh/transition.h"

namespace corelet::mesh {

// Fragments, and what they take of a device, headers and rounding included.
struct Load {
    u64 fragments = 0;
    u64 bytes = 0;
    u64 room = 0;
    Load& operator+=(const Load& other);
    friend bool operator==(const Load&, const Load&) = default;
};

// By slot what each of its places keeps: all fragments of a chunk are of one size. As many slots as the finest of
// the tables that are compared.
using SlotLoads = std::vector<Load>;

struct MovePlan {
    // By who hands it on and who takes it. From nobody: whoever held it is gone, so it is made again of the others.
    std::map<std::pair<CoreletId, CoreletId>, Load> flows;
    std::map<CoreletId, Load> in, out;
    std::map<PoolId, Load> by_pool;
    Load moved;
    Load rebuilt;   // of `moved`, from nobody
    Load homeless;  // places that become holes: too few corelets are left
};

// One after the other; the error of the first that is refused.
[[nodiscard]] Result<Map> apply_events(const Map& map, std::span<const MapEvent> events);

// How the map stands when all that it calls for has moved and has been reported clean; moves that wait for that
// (move_wanted) have been made too.
[[nodiscard]] Map settled(Map map);

// Slots in which the loads of the pool have to be counted for the two maps to be compared; 0: it is in neither.
[[nodiscard]] u32 slots_to_count(const Map& before, const Map& after, PoolId pool);

// From current tables to current tables. `loads`: of pools that hold something.
[[nodiscard]] MovePlan plan_moves(const Map& before, const Map& after, const std::map<PoolId, SlotLoads>& loads);

// Everybody takes in and hands on at `pace(corelet)` bytes a second, at once and beside each other: the last one is
// when it is done.
[[nodiscard]] Duration time_for(const MovePlan& plan, const std::function<u64(CoreletId)>& pace);

}  // namespace corelet::mesh
