// Whether all copies of a volume's log are there, and mending it; the part of `volume repair` that is no chunk.
#include <algorithm>
#include <set>

#include "heal/heal.pb.h"
#include "node/admin_arguments.h"
#include "node/ids_json.h"
#include "node/log_care.h"
#include "node/volume_care.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr usize k_log_segments_a_mend = 256;
constexpr Duration k_mend_log_limit = 40_s;

Json log_finding_json(const LogFinding& finding) {
    return Json{{"segment", finding.seq},
                {"use", use_name(finding.use)},
                {"survivors", finding.present},
                {"missing", ids_json(finding.missing)},
                {"damaged", ids_json(finding.damaged)},
                {"unseen", ids_json(finding.unseen)},
                {"narrow", finding.narrow}};
}

struct LookedAt {
    OwnedVolume volume;
    std::vector<LogFinding> findings;
};

// The owner first: what is acknowledged by then every replica has, and the record is no older than its word.
Task<Result<LookedAt>> look_at_volume_log(NodeServices* node, std::string name, bool verify) {
    CO_TRY(OwnedVolume const before, co_await find_owned_volume(*node, name));
    Json request{{"name", name}};
    CO_TRY(Json const open, co_await ask_owner(*node, before.owner, "volume.log.own", std::move(request)));
    CO_TRY(OwnedVolume volume, co_await find_owned_volume(*node, name));
    auto const map = node->maps->current();
    const mesh::Pool* const pool = map->find(PoolId(volume.record.pool()));
    if (!pool) co_return fail(Code::kUnavailable, "the pool of volume '" + name + "' is not in the map here");
    LogSights const sights = co_await look_at_log(&node->env, node->rpc.get(), map, volume.stream, verify);
    OpenLog const log{open.value("open", u64{0}), open.value("acknowledged", u64{0})};
    unsigned const width = pool->spec.redundancy.m + 1U;
    auto findings = judge_log(volume.stream, log, width, sights);
    // Replicas drop what the log let go of while they were asked: only what is listed still is missed.
    CO_TRY(OwnedVolume const after, co_await find_owned_volume(*node, name));
    std::erase_if(findings, [&](const LogFinding& each) {
        auto const& segments = after.stream.segments();
        return std::ranges::none_of(segments, [&](const pb::Segment& s) { return s.seq() == each.seq; });
    });
    co_return LookedAt{std::move(volume), std::move(findings)};
}

std::vector<u64> segments_argument(const Json& arguments) {
    std::vector<u64> out;
    auto const found = arguments.find("segments");
    if (found == arguments.end() || !found->is_array()) return out;
    for (const Json& seq : *found)
        if (seq.is_number_unsigned()) out.push_back(seq.get<u64>());
    return out;
}

void add_not_mended(const LogFinding& finding, const std::string& why, Json& out) {
    auto const add = [&](Json corelet) {
        out["not_done"].push_back(Json{{"segment", finding.seq}, {"corelet", std::move(corelet)}, {"why", why}});
    };
    for (const auto* ids : {&finding.missing, &finding.damaged, &finding.unseen})
        for (CoreletId id : *ids) add(to_string(id));
    for (unsigned i = 0; i < finding.narrow; ++i) add(Json());
}

}  // namespace

Task<Result<Json>> own_volume_log(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    auto const stream = node.volumes ? node.volumes->stream_of(name) : std::nullopt;
    if (!stream) co_return fail(Code::kUnavailable, "volume '" + name + "' is not served here now; try again");
    co_return Json{{"open", stream->open_seq}, {"acknowledged", stream->acknowledged_bytes}};
}

Task<Result<Json>> volume_log_check(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    CO_TRY(LookedAt const looked, co_await look_at_volume_log(&node, name, arguments.value("verify", false)));
    Json found = Json::array();
    u64 copies = 0;
    for (const LogFinding& finding : looked.findings) {
        copies += finding.present + finding.missing.size() + finding.damaged.size();
        if (finding.found() != 0) found.push_back(log_finding_json(finding));
    }
    co_return Json{
        {"name", name}, {"segments", looked.findings.size()}, {"copies", copies}, {"found", std::move(found)}};
}

// The owner does it; what is found once more afterwards is not done.
Task<Result<Json>> volume_log_mend(NodeServices& node, Json arguments) {
    std::string const name = text_argument(arguments, "name");
    auto const asked = segments_argument(arguments);
    if (asked.size() > k_log_segments_a_mend)
        co_return fail(Code::kInvalid, "at most " + std::to_string(k_log_segments_a_mend) + " segments at once");
    CO_TRY(OwnedVolume const volume, co_await find_owned_volume(node, name));
    pb::MendLog order;
    order.set_volume(name);
    order.mutable_seqs()->Add(asked.begin(), asked.end());
    CallOptions options;
    options.deadline = node.env.clock.now() + k_mend_log_limit;
    options.traffic = TrafficClass::kHeal;
    auto const mended =
        co_await node.rpc->call(volume.owner, heal_method::k_mend_log, encode_message(order), {}, options);
    std::string const why =
        mended ? std::string("the volume still refers to it") : "its owner: " + mended.error().to_string();
    CO_TRY(LookedAt const looked, co_await look_at_volume_log(&node, name, arguments.value("verify", false)));
    Json out{{"not_done", Json::array()}};
    for (const LogFinding& finding : looked.findings)
        if (std::ranges::find(asked, finding.seq) != asked.end() && finding.found() != 0)
            add_not_mended(finding, why, out);
    co_return out;
}

Task<Result<Reply>> on_mend_log(NodeServices& node, Request request) {
    CO_TRY(auto const order, decode_message<pb::MendLog>(request.body));
    if (!request.from || request.from->role != PeerRole::kCorelet)
        co_return fail(Code::kDenied, "only corelets of the mesh order this of each other");
    if (!node.volumes) co_return fail(Code::kNotOwner, "this corelet serves no volumes");
    CO_TRY_VOID(co_await node.volumes->mend_log(order.volume(), {order.seqs().begin(), order.seqs().end()}));
    co_return Reply{};
}

}  // namespace corelet
