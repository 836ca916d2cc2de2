#include "node/status_healing.h"

#include <array>

#include "base/json.h"

namespace corelet {

namespace {

std::string slowed_by(const HealStatus& heal) {
    switch (heal.pace_reason) {
        case PaceReason::kFree:
            return {};
        case PaceReason::kClients:
            return "clients here";
        case PaceReason::kPeersClients:
            return "clients of " + to_string(heal.pace_of);
        case PaceReason::kCoreletLimit:
            return "the limit of a corelet";
        case PaceReason::kMeshLimit:
            return "the limit of the mesh";
    }
    return {};
}

Json found_of(const HealStatus& heal) {
    auto const by = [&](FoundBy found) { return heal.found_damaged[static_cast<usize>(found)]; };
    return Json{{"scrub", by(FoundBy::kScrub)},
                {"read", by(FoundBy::kRead)},
                {"audit", by(FoundBy::kAudit)},
                {"rebuild", by(FoundBy::kRebuild)}};
}

i64 scrubbed_unix(const HealStatus& heal) {
    return heal.scrub_last_ended ? heal.scrub_last_ended->unix_ns / 1'000'000'000 : 0;
}

constexpr std::array<const char*, 11> k_healing_sums{
    "bytes_done",   "bytes_left", "fragments_rebuilt", "fragments_missing",     "fragments_damaged",
    "strays",       "repaired",   "scrubbed_bytes",    "rate_bytes_per_second", "audits",
    "audits_failed"};

}  // namespace

Json own_healing(const NodeServices& node) {
    HealStatus const heal = node.healer ? node.healer->status() : HealStatus{};
    return Json{{"chunk_shares", heal.chunk_shares},
                {"fragments_missing", heal.fragments_missing},
                {"fragments_damaged", heal.damaged},
                {"bytes_done", heal.bytes_done},
                {"bytes_left", heal.bytes_left},
                {"fragments_rebuilt", heal.fragments_rebuilt},
                {"strays", heal.strays},
                {"found_damaged", found_of(heal)},
                {"repaired", heal.repaired},
                {"rate_bytes_per_second", heal.bytes_per_second},
                {"allowed_bytes_per_second", heal.allowed_bytes_per_second},
                {"slowed_by", slowed_by(heal)},
                {"full", heal.full},
                {"strain_permille", node.pacer ? node.pacer->strain() : 0},
                {"audits", heal.audits},
                {"audits_failed", heal.audits_failed},
                {"scrubbed_bytes", heal.scrubbed_bytes},
                {"scrub_bytes_per_second", heal.scrub_bytes_per_second},
                {"scrub_permille", heal.scrub_permille},
                {"scrub_last_ended_unix", scrubbed_unix(heal)},
                {"eta_ms", static_cast<u64>(heal.eta.ms())}};
}

Json mesh_healing(const NodeServices& node, const CoreletReports& reports) {
    Json out = Json::object();
    for (const char* key : k_healing_sums) out[key] = u64{0};
    Json found{{"scrub", 0}, {"read", 0}, {"audit", 0}, {"rebuild", 0}};
    u64 shares = 0, eta_ms = 0;
    i64 oldest = INT64_MAX;
    std::string slowed;
    for (auto const& [id, report] : reports) {
        if (!report.info.contains("healing")) continue;
        const Json& part = report.info["healing"];
        for (const char* key : k_healing_sums) out[key] = out[key].get<u64>() + part.value(key, u64{0});
        for (auto const& [by, count] : part.value("found_damaged", Json::object()).items())
            found[by] = found.value(by, u64{0}) + count.get<u64>();
        shares += part.value("chunk_shares", u64{0});
        u64 const its_eta = part.value("eta_ms", u64{0});
        // Whoever is done last says why.
        if (its_eta > eta_ms) slowed = part.value("slowed_by", std::string());
        eta_ms = std::max(eta_ms, its_eta);
        if (report.info.value("fragments", u64{0}) != 0)
            oldest = std::min(oldest, part.value("scrub_last_ended_unix", i64{0}));
    }
    out["found_damaged"] = std::move(found);
    out["chunks_degraded"] = div_ceil(shares, HealStatus::k_whole_chunk);
    out["eta_seconds"] = div_ceil(eta_ms, 1000);
    out["slowed_by"] = slowed;
    // All that holds anything has been read in full since then; 0: somebody has not been, yet.
    out["scrubbed_since_unix"] = oldest == INT64_MAX ? 0 : oldest;
    out["scrub_pass_seconds"] = node.config.scrub_pass.ns / 1'000'000'000;
    HealingLimit const limit = node.pacer ? node.pacer->limit() : HealingLimit{};
    out["limit_corelet_bytes_per_second"] = limit.corelet;
    out["limit_mesh_bytes_per_second"] = limit.mesh;
    return out;
}

}  // namespace corelet
