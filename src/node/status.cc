#include "node/status.h"

#include <nlohmann/json.hpp>

#include "mesh/survival.h"
#include "mesh/voters.h"
#include "rt/combine.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {

using Json = nlohmann::json;

Json ids(const std::vector<CoreletId>& list) {
    Json out = Json::array();
    for (CoreletId id : list) out.push_back(to_string(id));
    return out;
}

Task<Result<Json>> ask_info(NodeServices& node, CoreletId peer) {
    pb::AdminRequest message;
    message.set_command("info");
    CallOptions options;
    options.deadline = node.env.clock.now() + 500_ms;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply reply, co_await node.rpc->call(peer, node_method::k_admin, encode_message(message), {}, options));
    CO_TRY(auto answer, decode_message<pb::AdminReply>(reply.body));
    Json parsed = Json::parse(answer.result(), nullptr, false);
    if (parsed.is_discarded()) co_return fail(Code::kCorrupt, "malformed answer");
    co_return parsed;
}

struct Budget {
    int losses = 0;
    std::string term;
    void limit(int value, std::string by) {
        if (value >= losses) return;
        losses = value;
        term = std::move(by);
    }
};

// Corelets of a zone go together when `zones` is set.
int survivable(const mesh::Map& map, const std::vector<CoreletId>& members, usize needed, bool zones) {
    std::vector<usize> groups;
    std::map<std::string, usize> by_zone;
    usize alive = 0;
    for (CoreletId id : members) {
        const mesh::Corelet* const corelet = map.find(id);
        if (!corelet || !corelet->is_up()) continue;
        ++alive;
        if (zones)
            ++by_zone[corelet->location.zone];
        else
            groups.push_back(1);
    }
    for (auto const& [zone, count] : by_zone) groups.push_back(count);
    std::sort(groups.rbegin(), groups.rend());
    if (alive < needed) return -1;
    int losses = 0;
    for (usize group : groups) {
        if (alive - group < needed) break;
        alive -= group;
        ++losses;
    }
    return losses;
}

Budget budget(const NodeServices& node, bool zones) {
    auto const map = node.maps->current();
    Budget out{99, "nothing is stored"};
    auto const voters = node.catalog->voters();
    out.limit(survivable(*map, voters, voters.size() / 2 + 1, zones),
              "catalog: " + std::to_string(voters.size()) + " voters");
    mesh::Level const level = zones ? mesh::Level::kZone : mesh::Level::kCorelet;
    std::set<u32> used;
    for (const KeyValue& item : node.catalog->local_range("streams/").items) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value)) continue;
        if (stream.epoch() == 0) continue;
        used.insert(stream.pool());
        for (const pb::Segment& segment : stream.segments()) {
            if (segment.state() == pb::Segment::DORMANT) continue;
            std::string const what =
                segment.state() == pb::Segment::ENDED ? "an unpacked segment" : "an open segment";
            out.limit(survivable(*map, to_spec(SpaceId(stream.space()), segment).replicas, 1, zones),
                      what + " of stream " + std::to_string(stream.space()));
        }
    }
    for (u32 id : used)
        if (const mesh::Pool* const pool = map->find(PoolId(id)))
            out.limit(mesh::can_lose(*map, *pool, level).losses, "pool " + pool->spec.name);
    return out;
}

}  // namespace

LossBudget loss_budget(const NodeServices& node) {
    Budget const corelets = budget(node, false);
    Budget const zones = budget(node, true);
    return LossBudget{std::max(corelets.losses, 0), corelets.term, std::max(zones.losses, 0)};
}

Json node_info(NodeServices& node) {
    SpaceUse const space = node.store->space();
    Json out{{"id", to_string(node.store->identity())},   {"incarnation", node.store->incarnation().v},
             {"capacity_bytes", space.capacity_bytes},    {"used_bytes", space.used_bytes},
             {"reserved_bytes", space.reserved_bytes},    {"free_bytes", space.client_free_bytes()},
             {"fragments", node.store->fragment_count()}, {"trouble", node.own_trouble},
             {"io_engine", node.config.io_engine},        {"catalog_leader", node.raft->is_leader()}};
    Json volumes = Json::object();
    if (node.volumes)
        for (auto const& [name, owned] : node.volumes->owned()) {
            Json standbys = Json::array();
            for (auto const& standby : owned.stream.standbys) standbys.push_back(ids(standby));
            volumes[name] = Json{{"epoch", owned.stream.epoch.v},
                                 {"uri", owned.uri},
                                 {"export_error", owned.export_error},
                                 {"open_segment", ids(owned.stream.open_segment)},
                                 {"standbys", standbys},
                                 {"width_wanted", owned.stream.width_wanted},
                                 {"waiting_for", owned.stream.waiting_for},
                                 {"stuck", owned.stream.stuck},
                                 {"rolls", owned.stream.rolls},
                                 {"unreleased_bytes", owned.stream.unreleased_bytes},
                                 {"unpacked_bytes", owned.volume.unpacked_bytes},
                                 {"logical_bytes", owned.volume.logical_bytes},
                                 {"live_bytes", owned.volume.live_bytes},
                                 {"garbage_bytes", owned.volume.garbage_bytes},
                                 {"client_bytes_written", owned.volume.client_bytes_written},
                                 {"write_amplification_permille", owned.volume.write_amplification_permille()},
                                 {"cache_hits", owned.volume.cache_hits},
                                 {"cache_misses", owned.volume.cache_misses},
                                 {"connections", owned.connections}};
        }
    out["volumes"] = std::move(volumes);
    HealStatus const heal = node.healer ? node.healer->status() : HealStatus{};
    out["healing"] = Json{{"chunk_shares", heal.chunk_shares},
                          {"fragments_missing", heal.fragments_missing},
                          {"fragments_damaged", heal.damaged},
                          {"bytes_done", heal.bytes_done},
                          {"bytes_left", heal.bytes_left},
                          {"fragments_rebuilt", heal.fragments_rebuilt},
                          {"strays", heal.strays},
                          {"scrubbed_bytes", heal.scrubbed_bytes},
                          {"eta_ms", static_cast<u64>(heal.eta.ms())}};
    return out;
}

namespace {

using Infos = std::map<CoreletId, Json>;

// What the parts add up to.
struct Totals {
    usize up = 0, expected = 0, storage_up = 0;
    u64 capacity = 0, used = 0, free_least = ~u64{0};
    bool holes = false, moving = false;                    // of slot tables
    bool unserved = false, narrow = false, stuck = false;  // of volumes
};

Task<Infos> ask_everybody(NodeServices& node) {
    auto const map = node.maps->current();
    std::vector<CoreletId> asked;
    std::vector<Task<Result<Json>>> asks;
    for (const mesh::Corelet& corelet : map->corelets)
        if (corelet.is_up() && corelet.id != node.store->identity()) {
            asked.push_back(corelet.id);
            asks.push_back(ask_info(node, corelet.id));
        }
    auto answers = co_await join_all<Result<Json>>(std::move(asks));
    Infos info;
    info[node.store->identity()] = node_info(node);
    for (usize i = 0; i < asked.size(); ++i)
        if (answers[i]) info[asked[i]] = std::move(*answers[i]);
    co_return info;
}

Json corelets_part(const NodeServices& node, const Infos& info, Totals& totals) {
    auto const map = node.maps->current();
    auto const voters = node.catalog->voters();
    Json out = Json::array();
    for (const mesh::Corelet& corelet : map->corelets) {
        bool const voter = std::find(voters.begin(), voters.end(), corelet.id) != voters.end();
        Json const own = info.contains(corelet.id) ? info.at(corelet.id) : Json::object();
        totals.up += corelet.is_up() ? 1 : 0;
        totals.expected += corelet.presence != mesh::Presence::kOut ? 1 : 0;
        Json former = Json::array();
        for (const mesh::FormerIdentity& identity : corelet.former) former.push_back(to_string(identity.id));
        out.push_back(Json{{"id", to_string(corelet.id)},
                           {"address", corelet.addresses.empty() ? "" : corelet.addresses.front()},
                           {"location", corelet.location.to_string()},
                           {"role", mesh::role_name(corelet.role)},
                           {"state", mesh::state_name(corelet.state())},
                           {"voter", voter},
                           {"answers", info.contains(corelet.id)},
                           {"capacity_bytes", own.value("capacity_bytes", corelet.capacity_bytes)},
                           {"used_bytes", own.value("used_bytes", u64{0})},
                           {"trouble", own.value("trouble", std::string())},
                           {"io_engine", own.value("io_engine", std::string())},
                           {"replaces", former}});
        if (corelet.role != mesh::Role::kStorage || !corelet.is_up()) continue;
        ++totals.storage_up;
        totals.capacity += own.value("capacity_bytes", u64{0});
        totals.used += own.value("used_bytes", u64{0});
        totals.free_least = std::min(totals.free_least, own.value("free_bytes", u64{0}));
    }
    return out;
}

bool has_holes(const mesh::SlotTable& table) {
    for (u32 slot = 0; slot < table.slots(); ++slot)
        for (unsigned p = 0; p < table.width(); ++p)
            if (table.at(slot, p).is_zero()) return true;
    return false;
}

Json pools_part(const NodeServices& node, Totals& totals) {
    auto const map = node.maps->current();
    Json out = Json::array();
    for (const mesh::Pool& pool : map->pools) {
        mesh::Survival const survives = mesh::survival(*map, pool);
        unsigned const width = pool.spec.redundancy.width();
        // The fullest corelet bounds what still fits, at the pool's overhead.
        u64 const usable =
            totals.storage_up < width ? 0 : totals.free_least / width * totals.storage_up * pool.spec.redundancy.k;
        bool const holes = has_holes(pool.current());
        totals.holes = totals.holes || holes;
        totals.moving = totals.moving || pool.tables.size() > 1;
        out.push_back(Json{{"name", pool.spec.name},
                           {"id", pool.id.v},
                           {"redundancy", pool.spec.redundancy.to_string()},
                           {"failure_domain", mesh::level_name(pool.spec.level)},
                           {"promise", survives.promise},
                           {"can_lose", survives.losses[0]},
                           {"survives", survives.sentence},
                           {"usable_bytes", usable},
                           {"slots", pool.current().slots()},
                           {"tables", pool.tables.size()},
                           {"has_holes", holes}});
    }
    return out;
}

Json volumes_part(const NodeServices& node, const Infos& info, Totals& totals) {
    auto const map = node.maps->current();
    Json out = Json::array();
    for (const KeyValue& item : node.catalog->local_range("volumes/").items) {
        pb::Volume volume;
        if (!volume.ParseFromString(item.value)) continue;
        pb::Stream stream;
        auto const streams = node.catalog->local_range(stream_key(SpaceId(volume.space())));
        if (!streams.items.empty()) (void)stream.ParseFromString(streams.items.front().value);
        CoreletId const owner(stream.owner());
        Json served = Json::object();
        if (auto const own = info.find(owner); own != info.end() && own->second["volumes"].contains(volume.name()))
            served = own->second["volumes"][volume.name()];
        bool const attached = volume.attached_to() != 0;
        // What its owner says is the present; the record may lag, also for want of a quorum.
        std::string const uri = served.value("uri", volume.uri());
        totals.unserved = totals.unserved || (attached && (served.empty() || uri.empty()));
        totals.stuck = totals.stuck || served.value("stuck", false);
        totals.narrow = totals.narrow ||
                        (!served.empty() && served["open_segment"].size() < served.value("width_wanted", usize{0}));
        const mesh::Pool* const pool = map->find(PoolId(volume.pool()));
        out.push_back(Json{{"name", volume.name()},
                           {"size_bytes", volume.size_bytes()},
                           {"pool", pool ? pool->spec.name : ""},
                           {"attached_to", attached ? Json(to_string(CoreletId(volume.attached_to()))) : Json()},
                           {"owner", owner.is_zero() ? Json() : Json(to_string(owner))},
                           {"epoch", stream.epoch()},
                           {"uri", uri},
                           {"export_error", served.value("export_error", std::string())},
                           {"served", !served.empty()},
                           {"unpacked_bytes", served.value("unpacked_bytes", u64{0})},
                           {"logical_bytes", served.value("logical_bytes", u64{0})},
                           {"waiting_for", served.value("waiting_for", std::string())}});
    }
    return out;
}

// Sums over the mesh; they heal side by side, so the last one is when it is done.
Json healing_part(const Infos& info) {
    static constexpr std::array<const char*, 7> k_sums{
        "bytes_done",        "bytes_left", "fragments_rebuilt", "fragments_missing",
        "fragments_damaged", "strays",     "scrubbed_bytes"};
    Json out = Json::object();
    for (const char* key : k_sums) out[key] = u64{0};
    u64 shares = 0;
    u64 eta_ms = 0;
    for (auto const& [id, own] : info) {
        if (!own.contains("healing")) continue;
        const Json& part = own["healing"];
        for (const char* key : k_sums) out[key] = out[key].get<u64>() + part.value(key, u64{0});
        shares += part.value("chunk_shares", u64{0});
        eta_ms = std::max(eta_ms, part.value("eta_ms", u64{0}));
    }
    out["chunks_degraded"] = div_ceil(shares, HealStatus::k_whole_chunk);
    out["eta_seconds"] = div_ceil(eta_ms, 1000);
    return out;
}

std::string health_of(const NodeServices& node, const Totals& totals, const LossBudget& losses,
                      bool fragments_missing) {
    auto const map = node.maps->current();
    int promise = 0;
    for (const mesh::Pool& pool : map->pools) promise = std::max(promise, static_cast<int>(pool.spec.redundancy.m));
    if (totals.unserved || totals.stuck) return "unavailable";
    if ((losses.can_lose == 0 && promise > 0 && totals.storage_up > 1) || totals.narrow) return "at_risk";
    bool const voters_missing = node.catalog->voters().size() < mesh::voters_wanted(*map);
    if (fragments_missing || totals.up < totals.expected || totals.holes || totals.moving || voters_missing)
        return "degraded";
    return "ok";
}

}  // namespace

Task<Result<Json>> mesh_status(NodeServices& node) {
    Infos const info = co_await ask_everybody(node);
    Totals totals;
    Json corelets = corelets_part(node, info, totals);
    Json pools = pools_part(node, totals);
    Json volumes = volumes_part(node, info, totals);
    Json healing = healing_part(info);
    LossBudget const losses = loss_budget(node);
    std::string const health = health_of(node, totals, losses, healing["fragments_missing"].get<u64>() != 0);
    Json catalog{{"available", node.catalog->is_available()},
                 {"leader", to_string(node.catalog->leader())},
                 {"voters", ids(node.catalog->voters())}};
    co_return Json{{"mesh", hex64(node.config.mesh.v)},
                   {"health", health},
                   {"can_lose", losses.can_lose},
                   {"limited_by", losses.limited_by},
                   {"can_lose_zones", losses.can_lose_zones},
                   {"catalog", std::move(catalog)},
                   {"map_epoch", node.maps->current()->epoch.v},
                   {"insecure", node.config.insecure},
                   {"capacity_bytes", totals.capacity},
                   {"used_bytes", totals.used},
                   {"corelets", std::move(corelets)},
                   {"pools", std::move(pools)},
                   {"volumes", std::move(volumes)},
                   {"healing", std::move(healing)}};
}

Task<Result<Json>> volume_info(NodeServices& node, std::string name) {
    CO_TRY(Json status, co_await mesh_status(node));
    for (const Json& volume : status["volumes"]) {
        if (volume["name"] != name) continue;
        Json out = volume;
        if (!volume["owner"].is_string()) co_return out;
        for (const mesh::Corelet& corelet : node.maps->current()->corelets) {
            if (to_string(corelet.id) != volume["owner"].get<std::string>()) continue;
            auto const own = corelet.id == node.store->identity() ? Result<Json>(node_info(node))
                                                                  : co_await ask_info(node, corelet.id);
            if (own && (*own)["volumes"].contains(name)) out.update((*own)["volumes"][name]);
        }
        out["standbys"] = out.value("standbys", Json::array());
        out["open_segment"] = out.value("open_segment", Json::array());
        co_return out;
    }
    co_return fail(Code::kNotFound, "there is no volume '" + name + "'; `corelet volume ls` lists them");
}

}  // namespace corelet
