#include "raft/codec.h"
#include "raft/codec_parts.h"

namespace corelet::raft {
namespace {

void put_body(pb::Message& out, const PreVote& in) {
    out.mutable_pre_vote()->set_campaign_term(in.campaign_term.v);
    put(out.mutable_pre_vote()->mutable_last(), in.last);
}
void put_body(pb::Message& out, const PreVoteResponse& in) {
    out.mutable_pre_vote_response()->set_campaign_term(in.campaign_term.v);
    out.mutable_pre_vote_response()->set_granted(in.granted);
}
void put_body(pb::Message& out, const Vote& in) {
    put(out.mutable_vote()->mutable_last(), in.last);
    out.mutable_vote()->set_transfer(in.transfer);
}
void put_body(pb::Message& out, const VoteResponse& in) {
    out.mutable_vote_response()->set_granted(in.granted);
}
void put_body(pb::Message& out, const Append& in) {
    pb::Append& append = *out.mutable_append();
    put(append.mutable_prev(), in.prev);
    for (const Entry& entry : in.entries) put(append.add_entries(), entry);
    append.set_commit(in.commit);
    append.set_leader_last(in.leader_last);
}
void put_body(pb::Message& out, const AppendResponse& in) {
    pb::AppendResponse& response = *out.mutable_append_response();
    response.set_accepted(in.accepted);
    response.set_promise(in.promise);
    response.set_match(in.match);
    response.set_rejected(in.rejected);
    put(response.mutable_hint(), in.hint);
}
void put_body(pb::Message& out, const Heartbeat& in) {
    out.mutable_heartbeat()->set_round(in.round);
}
void put_body(pb::Message& out, const HeartbeatResponse& in) {
    pb::HeartbeatResponse& response = *out.mutable_heartbeat_response();
    response.set_round(in.round);
    response.set_promise(in.promise);
    response.set_commit(in.commit);
}
void put_body(pb::Message& out, const SnapshotChunk& in) {
    pb::SnapshotChunk& chunk = *out.mutable_snapshot_chunk();
    put(chunk.mutable_last(), in.last);
    put(chunk.mutable_configuration(), in.configuration);
    chunk.set_total(in.total);
    chunk.set_crc(in.crc);
    chunk.set_offset(in.offset);
    chunk.set_data(in.data.text().data(), in.data.size());
    chunk.set_repair(in.repair);
}
void put_body(pb::Message& out, const SnapshotResponse& in) {
    put(out.mutable_snapshot_response()->mutable_last(), in.last);
    out.mutable_snapshot_response()->set_next_offset(in.next_offset);
    out.mutable_snapshot_response()->set_repair(in.repair);
}
void put_body(pb::Message& out, const TimeoutNow&) {
    out.mutable_timeout_now();
}
void put_body(pb::Message& out, const ReadRequest& in) {
    out.mutable_read_request()->set_nonce(in.nonce);
    out.mutable_read_request()->set_number(in.number);
}
void put_body(pb::Message& out, const ReadResponse& in) {
    pb::ReadResponse& response = *out.mutable_read_response();
    response.set_nonce(in.nonce);
    response.set_number(in.number);
    response.set_granted(in.granted);
    response.set_index(in.index);
}
void put_body(pb::Message& out, const RepairRequest& in) {
    put(out.mutable_repair_request()->mutable_have(), in.have);
    put(out.mutable_repair_request()->mutable_promised(), in.promised);
}
void put_body(pb::Message& out, const RepairResponse& in) {
    pb::RepairResponse& response = *out.mutable_repair_response();
    put(response.mutable_have(), in.have);
    put(response.mutable_promised(), in.promised);
    response.set_lacks(in.lacks);
    put(response.mutable_configuration(), in.configuration);
    for (const Entry& entry : in.entries) put(response.add_entries(), entry);
}

Body get_body(const pb::Append& in) {
    return Append{get(in.prev()), get_entries(in.entries()), in.commit(), in.leader_last()};
}
Body get_body(const pb::AppendResponse& in) {
    return AppendResponse{in.accepted(), in.promise(), in.match(), in.rejected(), get(in.hint())};
}
Body get_body(const pb::SnapshotChunk& in) {
    return SnapshotChunk{get(in.last()), get(in.configuration()), in.total(), in.crc(),
                         in.offset(),    Payload(in.data()),      in.repair()};
}
Body get_body(const pb::RepairResponse& in) {
    return RepairResponse{get(in.have()), get(in.promised()), in.lacks(), get(in.configuration()),
                          get_entries(in.entries())};
}

Result<Body> get_body(const pb::Message& in) {
    switch (in.body_case()) {
        case pb::Message::kPreVote:
            return PreVote{Term(in.pre_vote().campaign_term()), get(in.pre_vote().last())};
        case pb::Message::kPreVoteResponse:
            return PreVoteResponse{Term(in.pre_vote_response().campaign_term()), in.pre_vote_response().granted()};
        case pb::Message::kVote:
            return Vote{get(in.vote().last()), in.vote().transfer()};
        case pb::Message::kVoteResponse:
            return VoteResponse{in.vote_response().granted()};
        case pb::Message::kAppend:
            return get_body(in.append());
        case pb::Message::kAppendResponse:
            return get_body(in.append_response());
        case pb::Message::kHeartbeat:
            return Heartbeat{in.heartbeat().round()};
        case pb::Message::kHeartbeatResponse:
            return HeartbeatResponse{in.heartbeat_response().round(), in.heartbeat_response().promise(),
                                     in.heartbeat_response().commit()};
        case pb::Message::kSnapshotChunk:
            return get_body(in.snapshot_chunk());
        case pb::Message::kSnapshotResponse:
            return SnapshotResponse{get(in.snapshot_response().last()), in.snapshot_response().next_offset(),
                                    in.snapshot_response().repair()};
        case pb::Message::kTimeoutNow:
            return TimeoutNow{};
        case pb::Message::kReadRequest:
            return ReadRequest{in.read_request().nonce(), in.read_request().number()};
        case pb::Message::kReadResponse:
            return ReadResponse{in.read_response().nonce(), in.read_response().number(),
                                in.read_response().granted(), in.read_response().index()};
        case pb::Message::kRepairRequest:
            return RepairRequest{get(in.repair_request().have()), get(in.repair_request().promised())};
        case pb::Message::kRepairResponse:
            return get_body(in.repair_response());
        case pb::Message::BODY_NOT_SET:
            break;
    }
    return fail(Code::kUnsupported, "message of a kind that this version does not know");
}

}  // namespace

std::string encode(const Message& message) {
    pb::Message out;
    out.set_from(message.from.v);
    out.set_to(message.to.v);
    out.set_term(message.term.v);
    std::visit([&out](const auto& body) { put_body(out, body); }, message.body);
    return out.SerializeAsString();
}

Result<Message> decode_message(Bytes bytes) {
    pb::Message in;
    if (bytes.size() > INT32_MAX || !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        return fail(Code::kInvalid, "message does not parse");
    }
    TRY(Body body, get_body(in));
    Message message{CoreletId(in.from()), CoreletId(in.to()), Term(in.term()), std::move(body)};
    if (!well_formed(message)) return fail(Code::kInvalid, "message makes no sense, or does not verify");
    return message;
}

}  // namespace corelet::raft
