// What a plan is about, as events of the map.
#include <algorithm>
#include <charconv>

#include "base/hash.h"
#include "device/layout.h"
#include "mesh/departure.h"
#include "node/admin_arguments.h"
#include "node/plan.h"

namespace corelet {

namespace {

// The middle one of those that store.
u64 usual_capacity(const mesh::Map& map, const std::string& device_class) {
    std::vector<u64> all;
    for (const mesh::Corelet& corelet : map.corelets)
        if (corelet.role == mesh::Role::kStorage && corelet.presence != mesh::Presence::kOut &&
            (device_class.empty() || corelet.device_class == device_class))
            all.push_back(corelet.capacity_bytes);
    std::ranges::sort(all);
    return all.empty() ? 0 : all[all.size() / 2];
}

// Of a device of that size, what is left for data: the share of others goes by theirs.
Result<u64> data_bytes(u64 device_bytes) {
    LayoutRequest request;
    request.device_bytes = device_bytes;
    TRY(Layout const layout, plan_layout(request));
    return layout.data_units() * k_unit_bytes;
}

// Whoever it will be: an identity is drawn when its device is formatted. `n` tells several apart.
CoreletId drawn_id(const mesh::Map& map, u64 n) {
    for (u64 lot = n;; lot += k_planned_corelets_max) {
        CoreletId const id(hash64(map.mesh.v, lot) | 1);
        if (!map.find(id)) return id;
    }
}

Result<CoreletId> newcomer_id(const mesh::Map& map, const Json& arguments, u64 n) {
    std::string const text = text_argument(arguments, "id");
    if (text.empty()) return drawn_id(map, n);
    u64 value = 0;
    char const* const end = text.data() + text.size();
    bool const parsed = text.size() == 16 &&
                        std::from_chars(text.data(), end, value, 16) == std::from_chars_result{end, std::errc()};
    if (!parsed || value == 0)
        return fail(Code::kInvalid, "'" + text + "' is no id; `corelet init` and `join` print it, 16 hex digits");
    if (map.find(CoreletId(value))) return fail(Code::kExists, "corelet " + text + " is in the mesh already");
    return CoreletId(value);
}

Result<PlanRequest> plan_add(const mesh::Map& map, const Json& arguments) {
    PlanRequest out;
    u64 const count = arguments.contains("count") ? number_argument(arguments, "count") : 1;
    if (count == 0 || count > k_planned_corelets_max)
        return fail(Code::kInvalid, "a plan adds 1 to " + std::to_string(k_planned_corelets_max) + " corelets");
    if (count > 1 && !text_argument(arguments, "id").empty())
        return fail(Code::kInvalid, "one id names one corelet; leave --count away");
    std::string const where = text_argument(arguments, "location");
    TRY(mesh::Location const location, mesh::Location::parse(where.empty() ? "default" : where));
    mesh::Corelet fresh;
    fresh.incarnation = Incarnation(1);
    fresh.device_class = text_argument(arguments, "device_class");
    u64 const size = number_argument(arguments, "size_bytes");
    fresh.capacity_bytes = usual_capacity(map, fresh.device_class);
    if (size != 0) {
        TRY(fresh.capacity_bytes, data_bytes(size));
    }
    fresh.addresses = {"tcp:planned:1"};
    for (u64 n = 0; n < count; ++n) {
        TRY(fresh.id, newcomer_id(map, arguments, n));
        fresh.location = location;
        // Several are several machines: each a chassis of its own, where none is named.
        if (count > 1 && location.chassis == "default") fresh.location.chassis = "planned-" + std::to_string(n + 1);
        out.newcomers.push_back(fresh.id);
        out.events.emplace_back(mesh::CoreletJoined{fresh});
    }
    for (CoreletId id : out.newcomers) out.events.emplace_back(mesh::CoreletUp{id, fresh.incarnation, {}});
    out.sentence = std::to_string(count) + (count == 1 ? " corelet is" : " corelets are") + " added at " +
                   location.to_string();
    return out;
}

Result<PlanRequest> plan_drain(const mesh::Map& map, const Json& arguments) {
    PlanRequest out;
    TRY(CoreletId const id, corelet_argument(map, arguments, "id"));
    if (map.find(id)->presence == mesh::Presence::kOut)
        return fail(Code::kInvalid, "it is out, and holds nothing that counts; its removal moves nothing");
    if (map.find(id)->duty != mesh::Duty::kServe)
        return fail(Code::kInvalid, "it leaves already; `corelet status` says what is left");
    TRY_VOID(mesh::check_departure(map, id));
    out.events.emplace_back(mesh::DutyChanged{id, mesh::Duty::kDrain});
    out.at_last.emplace_back(mesh::CoreletRemoved{id, true});
    out.sentence = "corelet " + to_string(id) + " is drained, then removed";
    return out;
}

// At once and for good, as when its device is lost: others make again what it held.
Result<PlanRequest> plan_remove(const mesh::Map& map, const Json& arguments) {
    PlanRequest out;
    TRY(CoreletId const id, corelet_argument(map, arguments, "id"));
    if (map.find(id)->presence != mesh::Presence::kOut) out.events.emplace_back(mesh::CoreletOut{id, false});
    out.at_last.emplace_back(mesh::CoreletRemoved{id, true});
    out.sentence = "corelet " + to_string(id) + " is gone at once and for good, without a drain";
    return out;
}

Result<PlanRequest> plan_pool(const Json& arguments) {
    PlanRequest out;
    TRY(PoolWish const wish, pool_wish(arguments));
    out.events.emplace_back(mesh::PoolCreated{wish.spec, wish.survive});
    out.sentence = "pool '" + wish.spec.name + "' of " + wish.spec.redundancy.to_string() + " is made";
    return out;
}

Result<PlanRequest> plan_pool_change(const mesh::Map& map, const Json& arguments) {
    PlanRequest out;
    TRY(const mesh::Pool* const pool, pool_argument(map, arguments));
    TRY(PoolWish const wish, pool_change_wish(*pool, arguments));
    out.events.emplace_back(mesh::PoolChanged{pool->id, wish.spec, wish.survive, pool->spec});
    out.sentence = "pool '" + pool->spec.name + "' is changed";
    return out;
}

}  // namespace

Result<PlanRequest> plan_request(const mesh::Map& map, const Json& arguments) {
    std::string const change = text_argument(arguments, "change");
    if (change == "add") return plan_add(map, arguments);
    if (change == "drain") return plan_drain(map, arguments);
    if (change == "remove") return plan_remove(map, arguments);
    if (change == "pool.create") return plan_pool(arguments);
    if (change == "pool.change") return plan_pool_change(map, arguments);
    return fail(Code::kInvalid,
                "'" + change + "' cannot be planned; there are add, drain, remove, pool create, pool change");
}

}  // namespace corelet
