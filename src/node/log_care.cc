#include "node/log_care.h"

#include <algorithm>

#include "rt/scope.h"
#include "stream/replica_server.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr Duration k_log_look_limit = 8_s;
constexpr usize k_segments_a_question = 256;

// Page by page, until all are answered or one answer fails to come.
Task<void> ask_of_log(Env* env, RpcNode* rpc, CoreletId peer, SpaceId space, std::vector<u64> seqs, bool verify,
                      LogSights* sights) {
    for (usize at = 0; at < seqs.size();) {
        pb::LookAtSegments question;
        question.set_space(space.v);
        question.set_verify(verify);
        usize const end = std::min(seqs.size(), at + k_segments_a_question);
        for (usize i = at; i < end; ++i) question.add_seqs(seqs[i]);
        CallOptions options;
        options.deadline = env->clock.now() + k_log_look_limit;
        options.traffic = TrafficClass::kHeal;
        auto const reply = co_await rpc->call(peer, stream_method::k_look, encode_message(question), {}, options);
        if (!reply) co_return;
        auto const answer = decode_message<pb::LookAtSegmentsReply>(reply->body);
        if (!answer || answer->looks_size() == 0) co_return;
        usize const answered = std::min(end - at, static_cast<usize>(answer->looks_size()));
        for (usize i = 0; i < answered; ++i) {
            const pb::SegmentLook& look = answer->looks(static_cast<int>(i));
            (*sights)[seqs[at + i]][peer] = LogSight{look.here(), look.end_bytes(), look.verified()};
        }
        at += answered;
    }
}

LogFinding::Use use_of(const pb::Segment& segment, OpenLog open) {
    if (segment.state() == pb::Segment::ENDED) return LogFinding::Use::kEnded;
    return segment.seq() == open.seq ? LogFinding::Use::kOpen : LogFinding::Use::kStandby;
}

void judge_replica(CoreletId id, const LogSight* sight, u64 wanted_bytes, LogFinding& out) {
    if (!sight)
        out.unseen.push_back(id);
    else if (!sight->here || (!sight->verified && sight->end_bytes < wanted_bytes))
        out.missing.push_back(id);
    else if (sight->end_bytes < wanted_bytes)
        out.damaged.push_back(id);
    else
        ++out.present;
}

}  // namespace

const char* use_name(LogFinding::Use use) {
    switch (use) {
        case LogFinding::Use::kStandby:
            return "standby";
        case LogFinding::Use::kOpen:
            return "open";
        case LogFinding::Use::kEnded:
            return "ended";
    }
    return "";
}

std::vector<LogFinding> judge_log(const pb::Stream& stream, OpenLog open, unsigned width, const LogSights& sights) {
    std::vector<LogFinding> out;
    for (const pb::Segment& segment : stream.segments()) {
        LogFinding& finding = out.emplace_back();
        finding.seq = segment.seq();
        finding.use = use_of(segment, open);
        u64 wanted_bytes = 0;
        if (finding.use == LogFinding::Use::kEnded) wanted_bytes = segment.end_bytes();
        if (finding.use == LogFinding::Use::kOpen) wanted_bytes = open.acknowledged_bytes;
        auto const of_segment = sights.find(segment.seq());
        for (u64 replica : segment.replicas()) {
            const LogSight* sight = nullptr;
            if (of_segment != sights.end())
                if (auto const found = of_segment->second.find(CoreletId(replica));
                    found != of_segment->second.end())
                    sight = &found->second;
            judge_replica(CoreletId(replica), sight, wanted_bytes, finding);
        }
        // A standby may be narrow on purpose: it is there to do without others.
        auto const copies = static_cast<unsigned>(segment.replicas_size());
        if (finding.use != LogFinding::Use::kStandby && width > copies) finding.narrow = width - copies;
    }
    return out;
}

Task<LogSights> look_at_log(Env* env, RpcNode* rpc, std::shared_ptr<const mesh::Map> map, pb::Stream stream,
                            bool verify) {
    std::map<CoreletId, std::vector<u64>> asked;
    for (const pb::Segment& segment : stream.segments())
        for (u64 replica : segment.replicas())
            if (map->is_up(CoreletId(replica))) asked[CoreletId(replica)].push_back(segment.seq());
    LogSights sights;
    Scope scope(env->executor);
    for (auto& [peer, seqs] : asked)
        scope.spawn(ask_of_log(env, rpc, peer, SpaceId(stream.space()), std::move(seqs), verify, &sights));
    co_await scope.join();
    co_return sights;
}

}  // namespace corelet
