// drain, undrain, remove, cordon, uncordon; pause and resume of healing.
#include "base/json.h"
#include "mesh/departure.h"
#include "node/admin_arguments.h"
#include "node/admin_commands.h"
#include "node/catalog_keys.h"
#include "node/departure.h"
#include "node/mesh_view.h"
#include "node/space_names.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

Result<CoreletId> named_corelet(const NodeServices& node, const Json& arguments) {
    return corelet_argument(*node.maps->current(), arguments, "id");
}

// The map as it is now, not as this corelet last heard of it.
Task<Result<void>> read_map(NodeServices& node) {
    auto const refreshed = co_await node.maps->refresh(admin_patience(node));
    if (!refreshed) co_return std::unexpected(no_quorum(refreshed.error()));
    co_return {};
}

Task<Result<void>> change_map(NodeServices& node, mesh::MapEvent event) {
    auto const changed = co_await node.maps->change(std::move(event), admin_patience(node));
    if (!changed) co_return std::unexpected(no_quorum(changed.error()));
    co_return {};
}

Json state_of(const NodeServices& node, CoreletId id) {
    const auto map = node.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    return Json{{"id", to_string(id)},
                {"state", corelet ? mesh::state_name(corelet->state()) : "removed"},
                {"cordoned", corelet && corelet->cordoned}};
}

Task<std::optional<u64>> ask_strays(NodeServices& node, CoreletId id) {
    if (id == node.store->identity()) co_return node.healer ? node.healer->status().strays : 0;
    auto const info = co_await ask_info(node, id);
    if (!info || !info->contains("healing")) co_return std::nullopt;
    co_return (*info)["healing"].value("strays", u64{0});
}

Task<Result<Departure>> look_at_departure(NodeServices& node, CoreletId id) {
    CO_TRY_VOID(co_await read_map(node));
    auto const streams = co_await node.catalog->range("streams/", admin_patience(node));
    if (!streams) co_return std::unexpected(no_quorum(streams.error()));
    SpaceNames const names(*node.catalog);
    auto const voters = node.catalog->voters();
    auto const map = node.maps->current();
    DepartureView view{*map, id, std::ranges::find(voters, id) != voters.end(), {}, {}, node.healing_paused()};
    for (const KeyValue& item : streams->items) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value))
            co_return fail(Code::kCorrupt, "the record '" + item.key + "' does not parse: corelet catalog check");
        auto name = names.of(SpaceId(stream.space()));
        view.streams.push_back({std::move(name), std::move(stream)});
    }
    view.strays = co_await ask_strays(node, id);
    co_return departure(view);
}

std::string listed(const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : "; ") + word;
    return out;
}

Json describe(const NodeServices& node, CoreletId id, const Departure& departure) {
    Json out = state_of(node, id);
    out["safe_to_remove"] = departure.is_safe();
    out["left"] = departure.left;
    out["next"] = departure.next;
    return out;
}

// Until then nobody who remembers it may let it in again.
Task<Result<void>> mark_removed(NodeServices& node, CoreletId id, bool forced) {
    auto const map = node.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    pb::RemovedCorelet mark;
    mark.set_incarnation(corelet ? corelet->incarnation.v : 0);
    mark.set_forced(forced);
    Transaction transaction;
    transaction.put(removed_key(id), mark.SerializeAsString());
    auto const marked = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
    if (!marked) co_return std::unexpected(no_quorum(marked.error()));
    co_return {};
}

}  // namespace

Task<Result<Json>> corelet_drain(NodeServices& node, Json arguments) {
    CO_TRY(CoreletId const id, named_corelet(node, arguments));
    CO_TRY_VOID(co_await read_map(node));
    auto const map = node.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    if (!corelet) co_return fail(Code::kNotFound, "corelet " + to_string(id) + " was removed");
    if (corelet->presence == mesh::Presence::kOut)
        co_return fail(Code::kInvalid,
                       "it is out, and the others rebuild what it held; when they are done: corelet "
                       "remove " +
                           to_string(id));
    if (corelet->duty != mesh::Duty::kFailing) {
        CO_TRY_VOID(mesh::check_departure(*map, id));
        CO_TRY_VOID(co_await change_map(node, mesh::DutyChanged{id, mesh::Duty::kDrain}));
    }
    CO_TRY(Departure const found, co_await look_at_departure(node, id));
    co_return describe(node, id, found);
}

Task<Result<Json>> corelet_undrain(NodeServices& node, Json arguments) {
    CO_TRY(CoreletId const id, named_corelet(node, arguments));
    CO_TRY_VOID(co_await read_map(node));
    const auto map = node.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    if (corelet && corelet->duty == mesh::Duty::kFailing)
        co_return fail(Code::kInvalid,
                       "its device fails, and that is final: replace it (docs/guide/replace-a-device.md)");
    CO_TRY_VOID(co_await change_map(node, mesh::DutyChanged{id, mesh::Duty::kServe}));
    co_return state_of(node, id);
}

Task<Result<Json>> corelet_departure(NodeServices& node, Json arguments) {
    CO_TRY(CoreletId const id, named_corelet(node, arguments));
    CO_TRY(Departure const found, co_await look_at_departure(node, id));
    co_return describe(node, id, found);
}

Task<Result<Json>> corelet_remove(NodeServices& node, Json arguments) {
    CO_TRY(CoreletId const id, named_corelet(node, arguments));
    bool const force = arguments.value("force", false);
    CO_TRY(Departure const found, co_await look_at_departure(node, id));
    auto const map = node.maps->current();
    const mesh::Corelet* const corelet = map->find(id);
    if (!corelet) co_return fail(Code::kNotFound, "corelet " + to_string(id) + " was removed already");
    bool const gone = corelet->presence == mesh::Presence::kDown || corelet->presence == mesh::Presence::kOut;
    if (!found.is_safe() && !force)
        co_return fail(Code::kConflict, "corelet " + to_string(id) + " is still needed for: " + listed(found.left) +
                                            ". " + found.next);
    if (!found.is_safe() && !gone)
        co_return fail(Code::kConflict,
                       "corelet " + to_string(id) + " is " + mesh::state_name(corelet->state()) +
                           ", and --force is for one that is gone for good: drain it (corelet drain " +
                           to_string(id) + " --wait), or stop it first if its device is lost");
    CO_TRY_VOID(co_await mark_removed(node, id, force));
    CO_TRY_VOID(co_await change_map(node, mesh::CoreletRemoved{id, true}));
    Json out = state_of(node, id);
    out["forced"] = !found.is_safe();
    out["lost"] = found.is_safe() ? std::vector<std::string>{} : found.lost;
    out["needed_for"] = found.left;
    co_return out;
}

Task<Result<Json>> corelet_cordon(NodeServices& node, Json arguments, bool cordoned) {
    CO_TRY(CoreletId const id, named_corelet(node, arguments));
    CO_TRY_VOID(co_await change_map(node, mesh::CordonChanged{id, cordoned}));
    Json out = state_of(node, id);
    out["pools_bound_to_it"] =
        cordoned ? mesh::pools_bound_to(*node.maps->current(), id) : std::vector<std::string>{};
    co_return out;
}

Task<Result<Json>> healing_pause(NodeServices& node, Json arguments) {
    Duration const length{static_cast<i64>(number_argument(arguments, "length_ms") * 1'000'000)};
    if (number_argument(arguments, "length_ms") == 0 || length.ns <= 0 || length > k_pause_max)
        co_return fail(Code::kInvalid, "a pause has an end, within 24 hours; write, for example, --for 2h");
    for (;;) {
        auto const item = co_await node.catalog->get(k_pause_key, admin_patience(node));
        if (!item) co_return std::unexpected(no_quorum(item.error()));
        auto const before = *item ? decode_pause((*item)->value) : std::nullopt;
        i64 const ends = node.env.clock.wall_now().unix_ns + length.ns;
        PauseOrder const order{(before ? before->number : 0) + 1, WallTime{ends}, length};
        Transaction transaction;
        transaction.require_revision(k_pause_key, *item ? (*item)->mod_revision : Revision{})
            .put(k_pause_key, encode_pause(order));
        auto const done = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
        if (!done) co_return std::unexpected(no_quorum(done.error()));
        if (done->succeeded)
            co_return Json{{"paused", true}, {"ends_unix", ends / 1'000'000'000}, {"length_ms", length.ms()}};
    }
}

// The record stays, so that numbers go on; one that has ended says nothing.
Task<Result<Json>> healing_resume(NodeServices& node) {
    for (;;) {
        auto const item = co_await node.catalog->get(k_pause_key, admin_patience(node));
        if (!item) co_return std::unexpected(no_quorum(item.error()));
        auto const before = *item ? decode_pause((*item)->value) : std::nullopt;
        if (!before) co_return Json{{"paused", false}};
        PauseOrder const order{before->number + 1, WallTime{}, Duration{}};
        Transaction transaction;
        transaction.require_revision(k_pause_key, (*item)->mod_revision).put(k_pause_key, encode_pause(order));
        auto const done = co_await node.catalog->commit(std::move(transaction), admin_patience(node));
        if (!done) co_return std::unexpected(no_quorum(done.error()));
        if (done->succeeded) co_return Json{{"paused", false}};
    }
}

}  // namespace corelet
