// From a change to what comes of it. Pure.
#include <algorithm>

#include "mesh/survival.h"
#include "mesh/voters.h"
#include "node/plan.h"

namespace corelet {

namespace {

constexpr usize k_voter_steps_max = 32;
constexpr u64 k_full_permille = 950;  // what a device keeps for metadata, trims and healing is the rest

// The catalog's leader makes one change after the other until nothing is to be bettered.
std::vector<CoreletId> settled_voters(const mesh::Map& map, std::vector<CoreletId> voters) {
    for (usize step = 0; step < k_voter_steps_max; ++step) {
        auto const change = mesh::next_voter_change(map, voters);
        if (!change) break;
        if (change->kind == mesh::VoterChange::Kind::kAdd)
            voters.push_back(change->id);
        else
            std::erase(voters, change->id);
    }
    return voters;
}

u64 permille(u64 part, u64 whole) {
    return whole == 0 ? 0 : static_cast<u64>(u128{part} * 1000 / whole);
}

Json load_json(const mesh::Load& load) {
    return Json{{"fragments", load.fragments}, {"bytes", load.bytes}};
}

// Nothing of the log is where it was by then: it is packed, and written anew at full width.
LossBudget budget_after(const LossView& now, const PlanOutlook& outlook) {
    LossView view{outlook.maps.after, outlook.voters_after, now.lost, now.barred, {}, {}, {}, now.own_catalog};
    for (const LossView::Stream& stream : now.streams) view.streams.push_back({stream.name, stream.pool, {}});
    return loss_budget(view);
}

LossBudget budget_during(const LossView& now, const PlanOutlook& outlook) {
    LossView view{outlook.maps.during, now.voters,   now.lost,     now.barred,
                  now.streams,         now.degraded, now.unproven, now.own_catalog};
    return loss_budget(view);
}

Json budget_json(const LossBudget& budget) {
    return Json{{"can_lose", budget.can_lose},
                {"limited_by", budget.limited_by},
                {"can_lose_zones", budget.can_lose_zones},
                {"unreadable", budget.unreadable_what}};
}

struct Fill {
    u64 before = 0, peak = 0, after = 0;
};

// Who hands on keeps what it has until it is confirmed elsewhere.
Fill fill_of(CoreletId id, const DeviceUse& use, const PlanOutlook& outlook) {
    auto const room = [&](const std::map<CoreletId, mesh::Load>& loads) {
        auto const found = loads.find(id);
        return found == loads.end() ? u64{0} : found->second.room;
    };
    Fill out;
    out.before = use.used_bytes;
    out.peak = use.used_bytes + room(outlook.moves.in);
    out.after = out.peak - std::min(out.peak, room(outlook.moves.out));
    return out;
}

Json corelet_json(const mesh::Corelet& corelet, const DeviceUse& use, const PlanOutlook& outlook, bool stays) {
    Fill const fill = fill_of(corelet.id, use, outlook);
    auto const load = [&](const std::map<CoreletId, mesh::Load>& loads) {
        auto const found = loads.find(corelet.id);
        return load_json(found == loads.end() ? mesh::Load{} : found->second);
    };
    return Json{{"id", to_string(corelet.id)},
                {"location", corelet.location.to_string()},
                {"stays", stays},
                {"capacity_bytes", use.capacity_bytes},
                {"used_before_bytes", fill.before},
                {"used_after_bytes", fill.after},
                {"full_before_permille", permille(fill.before, use.capacity_bytes)},
                {"full_after_permille", permille(fill.after, use.capacity_bytes)},
                {"fits", !stays || fill.peak <= use.capacity_bytes / 1000 * k_full_permille},
                {"in", load(outlook.moves.in)},
                {"out", load(outlook.moves.out)}};
}

// Who is in the map before or after.
std::vector<const mesh::Corelet*> everybody(const mesh::Map& before, const mesh::Map& after) {
    std::vector<const mesh::Corelet*> out;
    for (const mesh::Corelet& corelet : before.corelets) out.push_back(&corelet);
    for (const mesh::Corelet& corelet : after.corelets)
        if (!before.find(corelet.id)) out.push_back(&corelet);
    std::erase_if(out, [](const mesh::Corelet* corelet) { return !mesh::may_store(corelet->role); });
    return out;
}

Json flows_json(const mesh::MovePlan& moves) {
    Json out = Json::array();
    for (auto const& [ends, load] : moves.flows) {
        Json flow = load_json(load);
        flow["from"] = ends.first.is_zero() ? Json() : Json(to_string(ends.first));
        flow["to"] = to_string(ends.second);
        out.push_back(std::move(flow));
    }
    return out;
}

Json pools_json(const PlanOutlook& outlook) {
    Json out = Json::array();
    for (const mesh::Pool& pool : outlook.maps.after.pools) {
        auto const found = outlook.moves.by_pool.find(pool.id);
        Json each = load_json(found == outlook.moves.by_pool.end() ? mesh::Load{} : found->second);
        each["name"] = pool.spec.name;
        each["survives_after"] = mesh::survival(outlook.maps.after, pool).sentence;
        out.push_back(std::move(each));
    }
    return out;
}

}  // namespace

u64 MoveRate::of(CoreletId id) const {
    auto const found = measured.find(id);
    return found == measured.end() ? others : found->second;
}

MoveRate move_rate(const std::map<CoreletId, DeviceUse>& devices) {
    MoveRate out;
    std::vector<u64> all;
    for (auto const& [id, use] : devices) {
        if (use.bytes_per_second == 0) continue;
        out.measured[id] = use.bytes_per_second;
        all.push_back(use.bytes_per_second);
    }
    if (all.empty()) return out;
    std::ranges::sort(all);
    out.others = all[all.size() / 2];
    out.is_measured = true;
    return out;
}

Result<PlannedMaps> planned_maps(const mesh::Map& map, const PlanRequest& request) {
    PlannedMaps out;
    out.before = map;
    TRY(out.during, mesh::apply_events(map, request.events));
    out.moved = mesh::settled(out.during);
    TRY(out.after, mesh::apply_events(out.moved, request.at_last));
    out.after = mesh::settled(std::move(out.after));
    return out;
}

PlanOutlook outlook(PlannedMaps maps, const std::vector<CoreletId>& voters,
                    const std::map<PoolId, mesh::SlotLoads>& loads) {
    PlanOutlook out;
    out.moves = mesh::plan_moves(maps.before, maps.moved, loads);
    out.voters_after = voters;
    std::erase_if(out.voters_after, [&](CoreletId id) { return !maps.during.find(id); });
    out.voters_after = settled_voters(maps.moved, std::move(out.voters_after));
    out.maps = std::move(maps);
    return out;
}

Json describe_plan(const PlanRequest& request, const PlanOutlook& outlook, const LossView& now,
                   const std::map<CoreletId, DeviceUse>& devices) {
    MoveRate const rate = move_rate(devices);
    const mesh::MovePlan& moves = outlook.moves;
    Duration const takes = mesh::time_for(moves, [&](CoreletId id) { return rate.of(id); });
    Json corelets = Json::array();
    for (const mesh::Corelet* corelet : everybody(now.map, outlook.maps.after)) {
        auto const use = devices.find(corelet->id);
        DeviceUse const known = use == devices.end() ? DeviceUse{corelet->capacity_bytes, 0, 0} : use->second;
        bool const stays = outlook.maps.after.find(corelet->id) != nullptr;
        corelets.push_back(corelet_json(*corelet, known, outlook, stays));
    }
    bool const fits = std::ranges::all_of(corelets, [](const Json& each) { return each.value("fits", true); });
    LossBudget const before = loss_budget(now);
    return Json{{"change", request.sentence},
                {"moved", load_json(moves.moved)},
                {"rebuilt", load_json(moves.rebuilt)},
                {"without_a_place", load_json(moves.homeless)},
                {"seconds", div_ceil(static_cast<u64>(takes.ns), 1'000'000'000)},
                {"bytes_per_second", rate.others},
                {"pace", rate.is_measured ? "measured" : "assumed"},
                {"fits", fits},
                {"flows", flows_json(moves)},
                {"corelets", std::move(corelets)},
                {"pools", pools_json(outlook)},
                {"before", budget_json(before)},
                {"during", budget_json(budget_during(now, outlook))},
                {"after", budget_json(budget_after(now, outlook))}};
}

}  // namespace corelet
