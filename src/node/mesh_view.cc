#include "node/mesh_view.h"

#include "base/json.h"
#include "node/admin_commands.h"
#include "node/space_names.h"
#include "node/status.h"
#include "rt/combine.h"
#include "stream/stream_record.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_report_age_max = 10_s;
constexpr Duration k_catalog_patience = 250_ms;

}  // namespace

// The reports of others as last heard.
struct ReportMemory {
    struct Heard {
        Instant at;
        Json info;
    };
    std::map<CoreletId, Heard> heard;  // of corelets in the map
};

std::shared_ptr<ReportMemory> make_report_memory() {
    return std::make_shared<ReportMemory>();
}

Task<Result<Json>> ask_corelet(NodeServices& node, CoreletId peer, std::string command, Json arguments,
                               Duration patience) {
    pb::AdminRequest message;
    message.set_command(std::move(command));
    message.set_arguments(arguments.dump());
    CallOptions options;
    options.deadline = node.env.clock.now() + patience;
    options.traffic = TrafficClass::kControl;
    CO_TRY(Reply const reply,
           co_await node.rpc->call(peer, node_method::k_admin, encode_message(message), {}, options));
    co_return parse_admin_reply(reply);
}

Task<Result<Json>> ask_info(NodeServices& node, CoreletId peer) {
    return ask_corelet(node, peer, "info", Json::object());
}

namespace {

// A corelet that has just started, or was cut off, remembers an old map and an old list of segments.
Task<void> read_catalog(NodeServices& node, MeshView* view) {
    auto const read = co_await node.maps->refresh(node.env.clock.now() + k_catalog_patience);
    auto const streams = read ? co_await node.catalog->range("streams/", node.env.clock.now() + k_catalog_patience)
                              : Result<RangeResult>(std::unexpected(read.error()));
    view->fresh = streams.has_value();
    view->streams = streams ? streams->items : node.catalog->local_range("streams/").items;
    view->map = node.maps->current();
}

Task<CoreletReports> ask_everybody(NodeServices& node, std::shared_ptr<const mesh::Map> map) {
    std::vector<CoreletId> asked;
    std::vector<Task<Result<Json>>> asks;
    for (const mesh::Corelet& corelet : map->corelets)
        if (corelet.is_up() && corelet.id != node.store->identity()) {
            asked.push_back(corelet.id);
            asks.push_back(ask_info(node, corelet.id));
        }
    auto answers = co_await join_all<Result<Json>>(std::move(asks));
    Instant const now = node.env.clock.now();
    CoreletReports reports;
    reports[node.store->identity()] = {node_info(node), {}};
    auto& heard = node.reports->heard;
    std::erase_if(heard, [&](const auto& item) { return !map->is_up(item.first); });
    for (usize i = 0; i < asked.size(); ++i) {
        if (answers[i]) {
            heard[asked[i]] = {now, *answers[i]};
            reports[asked[i]] = {std::move(*answers[i]), {}};
        } else if (auto const last = heard.find(asked[i]);
                   last != heard.end() && now - last->second.at <= k_report_age_max) {
            if (node.gossip->membership().health(asked[i]) == mesh::PeerHealth::kReached)
                reports[asked[i]] = {last->second.info, now - last->second.at};
        }
    }
    co_return reports;
}

void add_report(const Json& info, CoreletId id, const mesh::Map& map, LossView& view) {
    if (info.value("forgotten", false) || info.value("failed", false)) view.lost.insert(id);
    if (!info.value("votes", true)) view.barred.insert(id);
    std::set<u32> proven;
    for (const Json& pool : info.value("proven", Json::array()))
        if (pool.is_number_unsigned()) proven.insert(pool.get<u32>());
    for (const mesh::Pool& pool : map.pools)
        if (!proven.contains(pool.id.v)) view.unproven.insert({pool.id, id});
    for (const Json& row : info.value("degraded", Json::array())) {
        LossView::Degraded degraded;
        degraded.pool = PoolId(row.value("pool", 0U));
        for (const Json& holder : row.value("holders", Json::array()))
            if (holder.is_number_unsigned()) degraded.holders.push_back(CoreletId(holder.get<u64>()));
        view.degraded.push_back(std::move(degraded));
    }
}

void add_streams(const Catalog& catalog, const std::vector<KeyValue>& records, LossView& view) {
    SpaceNames const names(catalog);
    for (const KeyValue& item : records) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value) || stream.epoch() == 0) continue;
        SpaceId const space(stream.space());
        LossView::Stream out{names.of(space), PoolId(stream.pool()), {}};
        for (const pb::Segment& segment : stream.segments())
            if (segment.state() != pb::Segment::DORMANT)
                out.segments.push_back({segment.state() == pb::Segment::ENDED, to_spec(space, segment).replicas});
        view.streams.push_back(std::move(out));
    }
}

}  // namespace

Task<MeshView> look_at_mesh(NodeServices& node) {
    MeshView view;
    co_await read_catalog(node, &view);
    view.reports = co_await ask_everybody(node, view.map);
    co_return view;
}

LossView loss_view(const NodeServices& node, const MeshView& mesh) {
    LossView view{*mesh.map, node.catalog->voters(), {}, {}, {}, {}, {}, node.raft != nullptr};
    for (const mesh::Corelet& corelet : mesh.map->corelets) {
        if (!corelet.is_up()) continue;
        if (auto const report = mesh.reports.find(corelet.id); report != mesh.reports.end()) {
            add_report(report->second.info, corelet.id, *mesh.map, view);
            // What it said before may be so no longer: it may have restarted, or another body of it shown itself.
            if (report->second.age > Duration{}) view.barred.insert(corelet.id);
        } else if (node.gossip->membership().health(corelet.id) != mesh::PeerHealth::kReached) {
            view.lost.insert(corelet.id);
        } else {
            for (const mesh::Pool& pool : mesh.map->pools) view.unproven.insert({pool.id, corelet.id});
            view.barred.insert(corelet.id);
        }
    }
    add_streams(*node.catalog, mesh.streams, view);
    return view;
}

}  // namespace corelet
