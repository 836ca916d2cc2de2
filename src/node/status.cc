#include "node/status.h"

#include "base/json.h"
#include "mesh/survival.h"
#include "mesh/voters.h"
#include "node/admin_arguments.h"
#include "node/health_findings.h"
#include "node/health_report.h"
#include "node/health_service.h"
#include "node/ids_json.h"
#include "node/mesh_view.h"
#include "node/status_healing.h"
#include "stream/stream_record.h"

namespace corelet {

namespace {

constexpr usize k_degraded_rows = 64;  // the ones with the fewest holders say it all but for zones

// Peers that this corelet does not reach directly, and who reaches them for it: whoever its connections go through,
// or, while it has none, whoever the watch over each other says.
Json detours_of(const NodeServices& node) {
    std::map<CoreletId, CoreletId> through;
    for (const mesh::PeerView& peer : node.gossip->membership().view(node.env.clock.now()))
        if (!peer.via.is_zero()) through[peer.id] = peer.via;
    for (auto const& [peer, via] : node.rpc->detours()) through[peer] = via;
    Json out = Json::object();
    for (auto const& [peer, via] : through) out[to_string(peer)] = to_string(via);
    return out;
}

void add_degraded(Json& out, const std::vector<DegradedChunks>& rows) {
    for (const DegradedChunks& row : rows) {
        Json holders = Json::array();
        for (CoreletId id : row.holders) holders.push_back(id.v);
        out.push_back(Json{{"pool", row.pool.v}, {"holders", std::move(holders)}, {"chunks", row.chunks}});
    }
}

}  // namespace

Json node_info(NodeServices& node) {
    SpaceUse const space = node.store->space();
    Json out{{"id", to_string(node.store->identity())},
             {"incarnation", node.store->incarnation().v},
             {"capacity_bytes", space.capacity_bytes},
             {"used_bytes", space.used_bytes},
             {"reserved_bytes", space.reserved_bytes},
             {"free_bytes", space.client_free_bytes()},
             {"fragments", node.store->fragment_count()},
             {"trouble", node.own_trouble},
             {"io_engine", node.config.io_engine},
             {"disk_faults", node.config.disk_faults ? node.config.disk_faults() : std::string()},
             {"failed", node.store->is_failing()},
             {"forgotten", node.store->has_forgotten()},
             {"votes", node.raft && !node.raft->core().barred() && !node.raft->core().failed()},
             {"catalog_leader", node.raft && node.raft->is_leader()},
             {"detours", detours_of(node)}};
    Json proven = Json::array();
    for (const mesh::Pool& pool : node.maps->current()->pools)
        if (!node.healer || node.proof.proven(pool.id)) proven.push_back(pool.id.v);
    out["proven"] = std::move(proven);
    Json degraded = Json::array();
    if (node.healer) add_degraded(degraded, node.healer->degraded(k_degraded_rows));
    if (node.chunks) add_degraded(degraded, node.chunks->behind(k_degraded_rows));
    out["degraded"] = std::move(degraded);
    out["health"] = own_health(node);
    Json volumes = Json::object();
    if (node.volumes)
        for (auto const& [name, owned] : node.volumes->owned()) {
            Json standbys = Json::array();
            for (auto const& standby : owned.stream.standbys) standbys.push_back(ids_json(standby.replicas));
            volumes[name] = Json{{"epoch", owned.stream.epoch.v},
                                 {"uri", owned.uri},
                                 {"export_error", owned.export_error},
                                 {"open_segment", ids_json(owned.stream.open_segment)},
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
    out["healing"] = own_healing(node);
    return out;
}

namespace {

// What the parts add up to.
struct Totals {
    usize up = 0, expected = 0;
    u64 capacity = 0, used = 0;
    std::vector<u64> room;  // of each storage corelet that is up: used and free for clients
    u64 free = 0, free_least = ~u64{0};
    bool holes = false, moving = false;  // of slot tables
    bool unserved = false;               // a volume
};

const Json& info_of(const CoreletReports& reports, CoreletId id) {
    static const Json nothing = Json::object();  // global: immutable
    auto const found = reports.find(id);
    return found == reports.end() ? nothing : found->second.info;
}

// Numbers within the text by their value: corelet 2 comes before corelet 10.
bool natural_less(const std::string& a, const std::string& b) {
    auto const digit = [](char c) { return c >= '0' && c <= '9'; };
    usize i = 0, j = 0;
    while (i < a.size() && j < b.size()) {
        if (!digit(a[i]) || !digit(b[j])) {
            if (a[i] != b[j]) return a[i] < b[j];
            ++i, ++j;
            continue;
        }
        usize const from_a = i, from_b = j;
        while (i < a.size() && digit(a[i])) ++i;
        while (j < b.size() && digit(b[j])) ++j;
        auto const trimmed = [](std::string_view text) {
            return text.substr(std::min(text.find_first_not_of('0'), text.size()));
        };
        std::string_view const left = trimmed(std::string_view(a).substr(from_a, i - from_a)),
                               right = trimmed(std::string_view(b).substr(from_b, j - from_b));
        if (left != right) return left.size() != right.size() ? left.size() < right.size() : left < right;
    }
    return a.size() - i < b.size() - j;
}

std::string address_of(const mesh::Corelet& corelet) {
    return corelet.addresses.empty() ? std::string() : corelet.addresses.front();
}

// What everybody has found, and what the map and the answers show just now.
HealthBook health_book(const NodeServices& node, const MeshView& view) {
    HealthBook book(view.reports);
    WallTime const now = node.env.clock.wall_now();
    for (const mesh::Corelet& corelet : view.map->corelets) {
        Subject const subject = Subject::corelet(corelet.id), device = Subject::device(corelet.id);
        book.add(subject, HealthLevel::kReachable, presence_finding(corelet), now);
        auto const report = view.reports.find(corelet.id);
        bool const answers = report != view.reports.end() && report->second.age.ns == 0;
        if (corelet.is_up() && !answers)
            book.add(subject, HealthLevel::kServing,
                     Finding::degraded("it did not answer when it was asked for this status"), now);
        if (report != view.reports.end() && report->second.info.value("failed", false))
            book.add(device, HealthLevel::kStoring,
                     Finding::failed(report->second.info.value("trouble", std::string())), now);
    }
    for (auto const& [id, mark] : node.health->slow_devices())
        book.add(Subject::device(id), HealthLevel::kStoring, Finding::degraded("slow: " + mark.reason), now);
    for (const mesh::Pool& pool : view.map->pools)
        book.add(Subject::pool(pool.spec.name), HealthLevel::kStoring, pool_finding(*view.map, pool), now);
    return book;
}

// Out, and another stands in its place.
bool is_retired(const mesh::Map& map, const mesh::Corelet& corelet) {
    if (corelet.presence != mesh::Presence::kOut) return false;
    return std::any_of(map.corelets.begin(), map.corelets.end(), [&](const mesh::Corelet& other) {
        return other.presence != mesh::Presence::kOut && other.location == corelet.location &&
               other.role == corelet.role;
    });
}

Json corelet_part(const NodeServices& node, const mesh::Corelet& corelet, const CoreletReports& reports,
                  const HealthBook& book) {
    auto const voters = node.catalog->voters();
    const Json& own = info_of(reports, corelet.id);
    auto const report = reports.find(corelet.id);
    return Json{{"id", to_string(corelet.id)},
                {"address", address_of(corelet)},
                {"location", corelet.location.to_string()},
                {"role", mesh::role_name(corelet.role)},
                {"state", mesh::state_name(corelet.state())},
                {"cordoned", corelet.cordoned},
                {"voter", std::find(voters.begin(), voters.end(), corelet.id) != voters.end()},
                {"answers", report != reports.end() && report->second.age.ns == 0},
                {"capacity_bytes", own.value("capacity_bytes", corelet.capacity_bytes)},
                {"used_bytes", own.value("used_bytes", u64{0})},
                {"fragments", own.value("fragments", u64{0})},
                {"trouble", own.value("trouble", std::string())},
                {"io_engine", own.value("io_engine", std::string())},
                {"disk_faults", own.value("disk_faults", std::string())},
                {"device_speed", own.value("health", Json::object()).value("device_speed", Json())},
                {"health", book.of(Subject::corelet(corelet.id))},
                {"device_health", book.of(Subject::device(corelet.id))}};
}

// In the order of their addresses, witnesses last: a lab counts them so.
std::vector<const mesh::Corelet*> in_order(const mesh::Map& map) {
    std::vector<const mesh::Corelet*> out;
    for (const mesh::Corelet& corelet : map.corelets) out.push_back(&corelet);
    std::stable_sort(out.begin(), out.end(), [](const mesh::Corelet* a, const mesh::Corelet* b) {
        bool const witness_a = a->role == mesh::Role::kWitness, witness_b = b->role == mesh::Role::kWitness;
        return witness_a != witness_b ? witness_b : natural_less(address_of(*a), address_of(*b));
    });
    return out;
}

Json corelets_part(const NodeServices& node, const CoreletReports& reports, const HealthBook& book,
                   Totals& totals) {
    auto const map = node.maps->current();
    Json out = Json::array();
    for (const mesh::Corelet* corelet : in_order(*map)) {
        totals.up += corelet->is_up() ? 1 : 0;
        totals.expected += corelet->presence != mesh::Presence::kOut ? 1 : 0;
        if (!is_retired(*map, *corelet)) out.push_back(corelet_part(node, *corelet, reports, book));
        if (corelet->role != mesh::Role::kStorage || !corelet->is_up()) continue;
        const Json& own = info_of(reports, corelet->id);
        u64 const used = own.value("used_bytes", u64{0}), free = own.value("free_bytes", u64{0});
        totals.capacity += own.value("capacity_bytes", u64{0});
        totals.used += used;
        totals.free += free;
        totals.free_least = std::min(totals.free_least, free);
        totals.room.push_back(used + free);
    }
    return out;
}

// Identities that came to an end: replaced by another, or out with another in their place.
Json retired_part(const NodeServices& node, const CoreletReports& reports, const HealthBook& book) {
    auto const map = node.maps->current();
    Json out = Json::array();
    for (const mesh::Corelet* corelet : in_order(*map)) {
        if (is_retired(*map, *corelet)) out.push_back(corelet_part(node, *corelet, reports, book));
        for (const mesh::FormerIdentity& identity : corelet->former)
            out.push_back(Json{{"id", to_string(identity.id)},
                               {"state", "replaced"},
                               {"replaced_by", to_string(corelet->id)},
                               {"location", corelet->location.to_string()}});
    }
    return out;
}

bool has_holes(const mesh::SlotTable& table) {
    return std::find(table.indexes().begin(), table.indexes().end(), u16{0}) != table.indexes().end();
}

// What still fits after the promised losses, of the largest, are healed; no more than the fullest corelet takes
// now.
u64 usable_bytes(const Totals& totals, mesh::Redundancy redundancy) {
    usize const width = redundancy.width(), corelets = totals.room.size();
    if (corelets < width) return 0;
    std::vector<u64> room = totals.room;
    std::sort(room.begin(), room.end());
    usize const left = std::max(corelets - std::min<usize>(redundancy.m, corelets), width);
    u64 after = 0;
    for (usize i = 0; i < left; ++i) after += room[i];
    u64 const free_after = after > totals.used ? after - totals.used : 0;
    return std::min(free_after, totals.free_least * corelets) / width * redundancy.k;
}

Json pools_part(const NodeServices& node, HealthBook& book, Totals& totals) {
    auto const map = node.maps->current();
    Json out = Json::array();
    for (const mesh::Pool& pool : map->pools) {
        mesh::Survival const survives = mesh::survival(*map, pool);
        bool const holes = has_holes(pool.current());
        totals.holes = totals.holes || holes;
        totals.moving = totals.moving || pool.tables.size() > 1;
        u64 const usable = usable_bytes(totals, pool.spec.redundancy);
        if (usable == 0 && totals.room.size() >= pool.spec.redundancy.width())
            book.add(Subject::pool(pool.spec.name), HealthLevel::kStoring,
                     Finding::degraded("full: it takes no more, what it holds is served"),
                     node.env.clock.wall_now());
        out.push_back(Json{{"name", pool.spec.name},
                           {"id", pool.id.v},
                           {"redundancy", pool.spec.redundancy.to_string()},
                           {"failure_domain", mesh::level_name(pool.spec.level)},
                           {"strategy", pool.spec.strategy},
                           {"device_class", pool.spec.device_class},
                           {"caps", caps_of(pool.spec)},
                           {"promise", survives.promise},
                           {"min_copies", pool.spec.copies_min()},
                           {"write_quorum", pool.spec.write_quorum},
                           {"read_quorum", pool.spec.reads_at_once()},
                           {"repair_threshold", pool.spec.repair_threshold},
                           {"can_lose", std::max(survives.losses[0], 0)},
                           {"survives", survives.sentence},
                           {"usable_bytes", usable},
                           {"slots", pool.current().slots()},
                           {"tables", pool.tables.size()},
                           {"has_holes", holes},
                           {"health", book.of(Subject::pool(pool.spec.name))}});
    }
    return out;
}

Finding export_finding(const Json& served) {
    return volume_serving({}, served.value("export_error", std::string()))
        .value_or(Finding::degraded("it has an owner, and is not exported yet"));
}

Json volume_part(const NodeServices& node, const pb::Volume& volume, const CoreletReports& reports,
                 HealthBook& book, Totals& totals) {
    auto const map = node.maps->current();
    pb::Stream stream;
    auto const streams = node.catalog->local_range(stream_key(SpaceId(volume.space())));
    if (!streams.items.empty()) (void)stream.ParseFromString(streams.items.front().value);
    CoreletId const owner(stream.owner());
    Json served = Json::object();
    if (const Json& own = info_of(reports, owner);
        own.contains("volumes") && own["volumes"].contains(volume.name()))
        served = own["volumes"][volume.name()];
    bool const is_served = !served.empty() && !served.value("uri", std::string()).empty();
    bool const attached = volume.attached_to() != 0;
    totals.unserved = totals.unserved || (attached && !is_served) || served.value("stuck", false);
    const mesh::Pool* const pool = map->find(PoolId(volume.pool()));
    Subject const subject = Subject::volume(volume.name());
    if (attached && !is_served)
        book.add(subject, HealthLevel::kServing, served.empty() ? unowned_finding() : export_finding(served),
                 node.env.clock.wall_now());
    return Json{{"name", volume.name()},
                {"size_bytes", volume.size_bytes()},
                {"pool", pool ? pool->spec.name : ""},
                {"attached_to", attached ? Json(to_string(CoreletId(volume.attached_to()))) : Json()},
                {"owner", owner.is_zero() ? Json() : Json(to_string(owner))},
                {"epoch", stream.epoch()},
                // What its owner says is the present; the record may lag, also for want of a quorum.
                {"uri", served.value("uri", volume.uri())},
                {"export_error", served.value("export_error", std::string())},
                {"served", is_served},
                {"unpacked_bytes", served.value("unpacked_bytes", u64{0})},
                {"logical_bytes", served.value("logical_bytes", u64{0})},
                {"waiting_for", served.value("waiting_for", std::string())},
                {"health", book.of(subject)}};
}

Json volumes_part(const NodeServices& node, const CoreletReports& reports, HealthBook& book, Totals& totals) {
    Json out = Json::array();
    for (const KeyValue& item : node.catalog->local_range("volumes/").items) {
        pb::Volume volume;
        if (volume.ParseFromString(item.value)) out.push_back(volume_part(node, volume, reports, book, totals));
    }
    return out;
}

// Pairs between which something is broken that the others see whole.
Json paths_part(const CoreletReports& reports) {
    Json out = Json::array();
    for (auto const& [id, report] : reports)
        for (auto const& [peer, via] : report.info.value("detours", Json::object()).items())
            out.push_back(Json{{"from", to_string(id)}, {"to", peer}, {"through", via}});
    return out;
}

}  // namespace

Task<Result<Json>> mesh_status(NodeServices& node) {
    MeshView const view = co_await look_at_mesh(node);
    auto const map = view.map;
    const CoreletReports& reports = view.reports;
    Totals totals;
    HealthBook book = health_book(node, view);
    Json corelets = corelets_part(node, reports, book, totals);
    Json pools = pools_part(node, book, totals);
    Json volumes = volumes_part(node, reports, book, totals);
    Json healing = mesh_healing(node, reports);
    healing["paused"] = node.healing_paused();
    if (auto const until = node.paused_until()) healing["paused_until_unix"] = until->unix_ns / 1'000'000'000;
    LossBudget const losses = loss_budget(loss_view(node, view));
    bool const voters_missing = node.raft && node.catalog->voters().size() < mesh::voters_wanted(*map);
    HealthView health;
    health.unserved = totals.unserved;
    // Right after its first start a mesh has nobody in its map: nothing is missing, and nothing is there.
    health.unfinished = healing["fragments_missing"].get<u64>() != 0 || totals.up == 0 ||
                        totals.up < totals.expected || totals.holes || totals.moving || voters_missing ||
                        !node.catalog->is_available();
    Json catalog{{"available", node.catalog->is_available()},
                 {"outside", node.config.catalog},
                 {"leader", to_string(node.catalog->leader())},
                 {"recovered", node.catalog->local().find(k_recovery_key) != nullptr},
                 {"voters", ids_json(node.catalog->voters())}};
    co_return Json{{"mesh", hex64(node.config.mesh.v)},
                   {"health", health_of(losses, health)},
                   {"can_lose", losses.can_lose},
                   {"limited_by", losses.limited_by},
                   {"can_lose_zones", losses.can_lose_zones},
                   {"zones_limited_by", losses.zones_limited_by},
                   {"can_lose_possible", losses.possible},
                   {"unreadable", losses.unreadable_what},
                   {"catalog", std::move(catalog)},
                   {"map_epoch", map->epoch.v},
                   {"insecure", node.config.insecure},
                   {"capacity_bytes", totals.capacity},
                   {"used_bytes", totals.used},
                   {"corelets", std::move(corelets)},
                   {"retired", retired_part(node, reports, book)},
                   {"pools", std::move(pools)},
                   {"volumes", std::move(volumes)},
                   {"paths", paths_part(reports)},
                   {"healing", std::move(healing)}};
}

Task<Result<Json>> volume_info(NodeServices& node, std::string name) {
    CO_TRY(Json status, co_await mesh_status(node));
    for (const Json& volume : status["volumes"]) {
        if (volume["name"] != name) continue;
        Json out = volume;
        out["standbys"] = Json::array();
        out["open_segment"] = Json::array();
        if (!volume["owner"].is_string()) co_return out;
        auto const map = node.maps->current();
        for (const mesh::Corelet& corelet : map->corelets) {
            if (to_string(corelet.id) != volume["owner"].get<std::string>()) continue;
            // The owner's own word, and of now: what it said before does not show that it still serves.
            auto const own = corelet.id == node.store->identity() ? Result<Json>(node_info(node))
                                                                  : co_await ask_info(node, corelet.id);
            if (own && (*own)["volumes"].contains(name))
                out.update((*own)["volumes"][name]);
            else
                out["served"] = false;
        }
        co_return out;
    }
    co_return fail(Code::kNotFound, "there is no volume '" + name + "'; `corelet volume ls` lists them");
}

}  // namespace corelet
