// What this corelet has of some segments, for whoever looks after a volume (node/log_care.h). Changes nothing.
#include <algorithm>

#include "stream/replica_server.h"
#include "stream/segment_scan.h"
#include "stream/stream.pb.h"
#include "wire/message.h"

namespace corelet {

namespace {

constexpr int k_segments_a_look = 256;
constexpr Duration k_look_at_most = 2_s;  // for one answer
constexpr u8 k_looked_positions = 9;      // copies of a replicated chunk, at most

}  // namespace

// A replica that is open is known to its end already; what lies beyond is on its way.
Task<Result<void>> ReplicaServer::look_at(SegmentId id, bool verify, pb::SegmentLook* look) {
    auto const found = store_.segment_info(id);
    if (!found) co_return look_at_adopted(id, look);
    SegmentInfo const info = *found;
    look->set_here(true);
    std::optional<u64> const durable = durable_end(id);
    if (info.sealed)
        look->set_end_bytes(std::min(info.end, info.capacity_bytes));
    else if (durable)
        look->set_end_bytes(*durable);
    if (!verify && (info.sealed || durable)) co_return {};
    ReplicaCore core(id, info.opened_epoch, info.owner, times_, mounted_);
    auto const scanned = co_await scan_segment(&store_, info, &core, verify ? IoClass::kScrub : IoClass::kHeal);
    // Dropped meanwhile: it is not here.
    if (!store_.segment_info(id)) {
        look->Clear();
        co_return look_at_adopted(id, look);
    }
    if (!scanned && !tells_of_damage(scanned.error())) co_return scanned;
    look->set_end_bytes(core.end_bytes());
    look->set_verified(true);
    co_return {};
}

// What was a segment is a fragment of the chunk of the same name: scrubbing reads it, and so does its repair.
Result<void> ReplicaServer::look_at_adopted(SegmentId id, pb::SegmentLook* look) const {
    for (u8 position = 0; position < k_looked_positions; ++position)
        if (auto const info = store_.fragment_info(FragmentId{id, position})) {
            look->set_here(true);
            look->set_end_bytes(info->bytes);
        }
    return {};
}

Task<Result<Reply>> ReplicaServer::look(Request request) {
    CO_TRY(auto const question, decode_message<pb::LookAtSegments>(request.body));
    if (question.seqs_size() > k_segments_a_look) co_return fail(Code::kInvalid, "at most 256 segments at once");
    Instant const until = env_.clock.now() + k_look_at_most;
    pb::LookAtSegmentsReply reply;
    for (int i = 0; i < question.seqs_size(); ++i) {
        if (i != 0 && env_.clock.now() >= until) break;
        SegmentId const id{SpaceId(question.space()), question.seqs(i)};
        CO_TRY_VOID(co_await look_at(id, question.verify(), reply.add_looks()));
    }
    co_return Reply{encode_message(reply), {}};
}

}  // namespace corelet
