// `plan`: what a change of the mesh would move, how long that takes, how full it leaves each device, and what may
// be lost meanwhile. The map's own transitions make the change on a copy (mesh/move_plan.h); sizes and speeds are
// what the corelets say of themselves.
#pragma once

#include "base/json.h"
#include "mesh/move_plan.h"
#include "node/loss_budget.h"
#include "node/mesh_view.h"

namespace corelet {

inline constexpr usize k_planned_corelets_max = 64;
// Of one corelet, rebuilding, where nobody has measured it yet.
inline constexpr u64 k_assumed_bytes_per_second = 64 * k_mib;

// What is asked about. Pure; kInvalid, kNotFound with what would do.
struct PlanRequest {
    std::vector<mesh::MapEvent> events;   // what happens at once
    std::vector<mesh::MapEvent> at_last;  // what is done when everything has moved
    std::vector<CoreletId> newcomers;
    std::string sentence;  // "corelet 00..07 is drained"
};
// {"change": "add", "location", "size_bytes", "count", "device_class", "id"}, {"change": "drain"|"remove", "id"},
// {"change": "pool.create", and what `pool.create` takes}, "pool.change" likewise
[[nodiscard]] Result<PlanRequest> plan_request(const mesh::Map& map, const Json& arguments);

// A device as it is, and what the plan makes of it.
struct DeviceUse {
    u64 capacity_bytes = 0, used_bytes = 0;
    u64 bytes_per_second = 0;  // as measured; 0: never yet
};
struct MoveRate {
    std::map<CoreletId, u64> measured;
    u64 others = k_assumed_bytes_per_second;  // the middle one of what was measured, if anything was
    bool is_measured = false;
    [[nodiscard]] u64 of(CoreletId id) const;
};
[[nodiscard]] MoveRate move_rate(const std::map<CoreletId, DeviceUse>& devices);

// The map, step by step as the request changes it.
struct PlannedMaps {
    mesh::Map before;
    mesh::Map during;  // what is asked about has happened, and nothing has moved yet
    mesh::Map moved;   // everything has moved
    mesh::Map after;   // and what comes at last is done
};
// The error of the first change that the map refuses.
[[nodiscard]] Result<PlannedMaps> planned_maps(const mesh::Map& map, const PlanRequest& request);

struct PlanOutlook {
    PlannedMaps maps;
    mesh::MovePlan moves;
    std::vector<CoreletId> voters_after;
};
// `voters`: as they are now. `loads`: by slots of the finer of the tables before and moved (mesh::slots_to_count).
[[nodiscard]] PlanOutlook outlook(PlannedMaps maps, const std::vector<CoreletId>& voters,
                                  const std::map<PoolId, mesh::SlotLoads>& loads);

// The answer; see docs/guide/plan-maintenance.md. `now`: as `status` sees it.
[[nodiscard]] Json describe_plan(const PlanRequest& request, const PlanOutlook& outlook, const LossView& now,
                                 const std::map<CoreletId, DeviceUse>& devices);

// Of everybody who is up, what lies in each slot: the most that any member of it says. `slots`: by pool.
struct LoadsHeard {
    std::map<PoolId, mesh::SlotLoads> loads;
    std::map<CoreletId, u64> bytes_per_second;
    std::vector<CoreletId> silent;
};
[[nodiscard]] Task<LoadsHeard> hear_loads(NodeServices& node, std::shared_ptr<const mesh::Map> map,
                                          std::map<PoolId, u32> slots);

[[nodiscard]] Task<Result<Json>> plan_change(NodeServices& node, Json arguments);

}  // namespace corelet
