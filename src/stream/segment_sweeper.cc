#include "stream/segment_sweeper.h"

#include "base/fault_point.h"

namespace corelet {

std::vector<SegmentId> dead_segments(const pb::Stream& stream, const std::vector<SegmentId>& held) {
    std::set<u64> listed;
    for (const pb::Segment& segment : stream.segments()) listed.insert(segment.seq());
    std::vector<SegmentId> dead;
    for (SegmentId segment : held)
        if (segment.space.v == stream.space() && segment.seq < stream.horizon() && !listed.contains(segment.seq))
            dead.push_back(segment);
    return dead;
}

SegmentSweeper::SegmentSweeper(Env& env, const Store& store, ReplicaServer& replicas, Catalog& catalog,
                               Duration interval)
    : env_(env), store_(store), replicas_(replicas), catalog_(catalog), scope_(env.executor) {
    scope_.spawn(run(interval));
}

Task<void> SegmentSweeper::run(Duration interval) {
    for (;;) {
        Duration const least = FAULT_POINT("stream.sweep_early") ? 20_ms : interval;
        // Not all corelets in the same moment.
        co_await env_.clock.sleep(least +
                                  Duration{static_cast<i64>(env_.random.below(static_cast<u64>(least.ns / 2)))});
        usize const dropped = co_await sweep();
        if (dropped != 0)
            log_info(env_.log, "stream.swept",
                     [&] { return std::to_string(dropped) + " replicas of segments that nothing lists"; });
    }
}

Task<usize> SegmentSweeper::sweep() {
    std::map<SpaceId, std::vector<SegmentId>> held;
    for (const SegmentInfo& segment : store_.list_segments()) held[segment.id.space].push_back(segment.id);
    std::map<SpaceId, std::vector<SegmentId>> dead;
    std::set<SegmentId> suspects;
    for (const auto& [space, segments] : held) {
        auto const local = catalog_.local_range(stream_key(space));
        pb::Stream stream;
        if (local.items.empty() || !stream.ParseFromString(local.items.front().value))
            continue;  // deleted spaces are the healer's
        for (SegmentId segment : dead_segments(stream, segments)) {
            suspects.insert(segment);
            if (suspects_.contains(segment)) dead[space].push_back(segment);
        }
    }
    suspects_ = std::move(suspects);
    usize dropped = 0;
    if (dead.empty()) co_return dropped;
    auto const recovery = co_await catalog_.get(k_recovery_key, env_.clock.now() + 5_s);
    if (!recovery || *recovery) co_return dropped;
    for (const auto& [space, segments] : dead) {
        auto const found = co_await catalog_.get(stream_key(space), env_.clock.now() + 5_s);
        pb::Stream stream;
        if (!found || !*found || !stream.ParseFromString((*found)->value)) continue;
        for (SegmentId segment : dead_segments(stream, segments))
            dropped += (co_await replicas_.drop_dead(segment)).has_value() ? 1 : 0;
    }
    co_return dropped;
}

}  // namespace corelet
