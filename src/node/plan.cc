#include "node/plan.h"

#include <algorithm>

#include "heal/heal.pb.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_loads_limit = 3_s;

Task<Result<pb::SlotLoads>> ask_loads(NodeServices* node, CoreletId peer, PoolId pool, u32 slots) {
    pb::AskLoads question;
    question.set_pool(pool.v);
    question.set_slots(slots);
    CallOptions options;
    options.deadline = node->env.clock.now() + k_loads_limit;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply,
           co_await node->rpc->call(peer, heal_method::k_loads, encode_message(question), {}, options));
    co_return decode_message<pb::SlotLoads>(reply.body);
}

// Members that have not rebuilt everything yet say less.
void take_most(const pb::SlotLoads& answer, mesh::SlotLoads& loads) {
    int const rows =
        std::min({answer.slot_size(), answer.fragments_size(), answer.bytes_size(), answer.room_size()});
    for (int i = 0; i < rows; ++i) {
        if (answer.slot(i) >= loads.size()) continue;
        mesh::Load& load = loads[answer.slot(i)];
        if (answer.bytes(i) <= load.bytes) continue;
        load = mesh::Load{answer.fragments(i), answer.bytes(i), answer.room(i)};
    }
}

Task<void> hear_one(NodeServices* node, CoreletId peer, PoolId pool, u32 slots, LoadsHeard* heard) {
    auto const answer = co_await ask_loads(node, peer, pool, slots);
    if (!answer) {
        if (std::ranges::find(heard->silent, peer) == heard->silent.end()) heard->silent.push_back(peer);
        co_return;
    }
    take_most(*answer, heard->loads[pool]);
    if (answer->bytes_per_second() != 0) heard->bytes_per_second[peer] = answer->bytes_per_second();
}

std::map<CoreletId, DeviceUse> devices_of(const MeshView& view, const LoadsHeard& heard) {
    std::map<CoreletId, DeviceUse> out;
    for (auto const& [id, report] : view.reports) {
        const mesh::Corelet* const corelet = view.map->find(id);
        if (!corelet || !mesh::may_store(corelet->role)) continue;
        DeviceUse use{report.info.value("capacity_bytes", u64{0}), report.info.value("used_bytes", u64{0}), 0};
        if (auto const pace = heard.bytes_per_second.find(id); pace != heard.bytes_per_second.end())
            use.bytes_per_second = pace->second;
        out[id] = use;
    }
    return out;
}

// What the tables say nothing of.
Json also(const NodeServices& node, const MeshView& view, const PlanRequest& request) {
    Json out = Json::array();
    CoreletId leaving;
    for (const mesh::MapEvent& event : request.events) {
        if (const auto* const duty = std::get_if<mesh::DutyChanged>(&event)) leaving = duty->id;
        if (const auto* const lost = std::get_if<mesh::CoreletOut>(&event)) leaving = lost->id;
    }
    if (leaving.is_zero()) return out;
    if (auto const report = view.reports.find(leaving); report != view.reports.end())
        for (auto const& [name, volume] : report->second.info.value("volumes", Json::object()).items())
            out.push_back("volume " + name + " goes to another owner");
    auto const voters = node.catalog->voters();
    if (std::ranges::find(voters, leaving) != voters.end()) out.push_back("its vote goes to another corelet");
    return out;
}

u64 missing_now(const MeshView& view) {
    u64 missing = 0;
    for (auto const& [id, report] : view.reports)
        missing += report.info.value("healing", Json::object()).value("fragments_missing", u64{0});
    return missing;
}

// Why what then moves may be more, or less.
Json caveats(const NodeServices& node, const MeshView& view, const PlanRequest& request, const LoadsHeard& heard) {
    Json out = Json::array();
    for (CoreletId id : heard.silent)
        out.push_back("corelet " + to_string(id) +
                      " did not say what it holds; what only it knows of is not counted");
    if (u64 const missing = missing_now(view); missing != 0)
        out.push_back(std::to_string(missing) + " fragments are missing already, and come on top");
    if (std::ranges::any_of(view.map->pools, [](const mesh::Pool& pool) { return pool.tables.size() > 1; }))
        out.push_back("a move is under way; what it has left to do is not counted");
    if (node.healing_paused()) out.push_back("healing is paused: nothing moves before that ends");
    if (!request.newcomers.empty())
        out.push_back("what is written from now on is not counted, nor what the log holds until it is packed");
    return out;
}

}  // namespace

Task<LoadsHeard> hear_loads(NodeServices& node, std::shared_ptr<const mesh::Map> map, std::map<PoolId, u32> slots) {
    LoadsHeard heard;
    for (auto const& [pool, count] : slots) heard.loads[pool].resize(count);
    Scope asks(node.env.executor);
    for (auto const& [pool, count] : slots)
        for (CoreletId member : map->find(pool)->current().members())
            if (map->is_up(member)) asks.spawn(hear_one(&node, member, pool, count, &heard));
    co_await asks.join();
    co_return heard;
}

Task<Result<Json>> plan_change(NodeServices& node, Json arguments) {
    MeshView const view = co_await look_at_mesh(node);
    CO_TRY(PlanRequest const request, plan_request(*view.map, arguments));
    // First which tables there will be, to have everything counted by the finer of them.
    CO_TRY(PlannedMaps maps, planned_maps(*view.map, request));
    std::map<PoolId, u32> slots;
    for (const mesh::Pool& pool : maps.before.pools)
        slots[pool.id] = mesh::slots_to_count(maps.before, maps.moved, pool.id);
    LoadsHeard const heard = co_await hear_loads(node, view.map, slots);
    PlanOutlook const look = outlook(std::move(maps), node.catalog->voters(), heard.loads);
    Json out = describe_plan(request, look, loss_view(node, view), devices_of(view, heard));
    out["also"] = also(node, view, request);
    out["caveats"] = caveats(node, view, request, heard);
    co_return out;
}

}  // namespace corelet
