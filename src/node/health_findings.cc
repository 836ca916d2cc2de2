#include "node/health_findings.h"

#include <fmt/format.h>

#include <algorithm>

#include "mesh/survival.h"

namespace corelet {

namespace {
constexpr u64 k_full_permille = 10;
constexpr u64 k_nearly_full_permille = 50;
constexpr Duration k_stuck_after = 2_s;
constexpr Duration k_stuck_failed_after = 30_s;
}  // namespace

Finding reachable_finding(const mesh::PeerView& peer, CoreletId observer) {
    std::string const silence =
        peer.silence ? fmt::format(", silent for {}", short_duration(peer.silence->ns)) : std::string();
    switch (peer.health) {
        case mesh::PeerHealth::kReached:
            return Finding::healthy();
        case mesh::PeerHealth::kIndirect:
            return Finding::degraded(
                fmt::format("not from corelet {}, but through {}", to_string(observer), to_string(peer.via)));
        case mesh::PeerHealth::kSuspected:
            return Finding::degraded("none of its observers reaches it" + silence);
        case mesh::PeerHealth::kDown:
            return Finding::failed("down: its observers agree that nobody reaches it" + silence);
    }
    return Finding::healthy();
}

Finding loop_finding(Duration late, Duration ago) {
    if (late < k_loop_late || ago >= k_loop_late_told) return Finding::healthy();
    return Finding::degraded(fmt::format("its loop stood still for {}", short_duration(late.ns)));
}

Finding space_finding(const SpaceUse& space) {
    if (space.capacity_bytes == 0) return Finding::healthy();  // a witness
    u64 const free = space.client_free_bytes();
    u64 const permille = free / std::max<u64>(1, space.capacity_bytes / 1000);
    if (permille >= k_nearly_full_permille) return Finding::healthy();
    bool const full = permille < k_full_permille;
    return Finding::degraded(fmt::format("{}: {} MiB of {} MiB are left for clients", full ? "full" : "nearly full",
                                         free / k_mib, space.capacity_bytes / k_mib));
}

Finding room_finding(bool full, u64 fragments, u64 bytes) {
    if (!full) return Finding::healthy();
    return Finding::degraded(fmt::format(
        "no room for {} fragments ({} MiB) that belong here: they stay missing until there is; add a corelet, or "
        "remove what is not needed",
        fragments, div_ceil(bytes, k_mib)));
}

Finding stuck_finding(Duration under_way) {
    if (under_way < k_stuck_after) return Finding::healthy();
    std::string reason = fmt::format("a small write has been under way for {}", short_duration(under_way.ns));
    return under_way >= k_stuck_failed_after ? Finding::failed(std::move(reason))
                                             : Finding::degraded(std::move(reason));
}

Finding error_finding(u64 corrupt_blocks, u64 refused_reads) {
    if (corrupt_blocks == 0 && refused_reads == 0) return Finding::healthy();
    return Finding::degraded(fmt::format("in the last minute {} blocks did not verify and {} reads failed",
                                         corrupt_blocks, refused_reads));
}

std::optional<Finding> volume_serving(const std::string& uri, const std::string& export_error) {
    if (!uri.empty()) return Finding::healthy();
    if (export_error.empty()) return std::nullopt;
    return Finding::failed("it has no export: " + export_error);
}

Finding volume_storing(const StreamStatus& stream) {
    if (stream.stuck)
        return Finding::failed("writes wait" +
                               (stream.waiting_for.empty() ? std::string() : " for " + stream.waiting_for));
    if (!stream.waiting_for.empty()) return Finding::degraded("its log wants " + stream.waiting_for);
    if (stream.open_seq != 0 && stream.open_segment.size() < stream.width_wanted)
        return Finding::degraded(
            fmt::format("its log has {} of {} copies", stream.open_segment.size(), stream.width_wanted));
    return Finding::healthy();
}

Finding unowned_finding() {
    return Finding::failed("it is attached, and nobody owns it");
}

Finding pool_finding(const mesh::Map& map, const mesh::Pool& pool) {
    mesh::Survival const survives = mesh::survival(map, pool);
    if (survives.losses[0] < 0) return Finding::failed("some slots have fewer fragments up than a read needs");
    auto const indexes = pool.current().indexes();
    auto const holes = std::count(indexes.begin(), indexes.end(), u16{0});
    if (holes != 0) return Finding::degraded(fmt::format("{} places of its slot table are empty", holes));
    if (survives.losses[0] < survives.promise)
        return Finding::degraded(fmt::format("it survives the loss of {} corelets, and promises {}",
                                             survives.losses[0], survives.promise));
    if (pool.tables.size() > 1) return Finding::degraded("data move to a new slot table");
    return Finding::healthy();
}

Finding presence_finding(const mesh::Corelet& corelet) {
    if (corelet.presence == mesh::Presence::kOut) return Finding::failed("out: it was away for too long");
    if (corelet.presence == mesh::Presence::kDown) return Finding::failed("down: nobody reaches it");
    if (corelet.presence == mesh::Presence::kJoining) return Finding::degraded("it is joining");
    return Finding::healthy();
}

Finding mesh_finding(const mesh::Map& map) {
    usize away = 0, expected = 0;
    for (const mesh::Corelet& corelet : map.corelets) {
        if (corelet.presence == mesh::Presence::kOut) continue;
        ++expected;
        away += corelet.presence == mesh::Presence::kDown ? 1 : 0;
    }
    if (away == 0) return Finding::healthy();
    return Finding::degraded(fmt::format("{} of {} corelets are down", away, expected));
}

}  // namespace corelet
