#include "raft/message.h"

#include <array>

#include "raft/codec.h"

namespace corelet::raft {
namespace {

bool chain_follows(Position prev, const std::vector<Entry>& entries, Term newest) {
    for (const Entry& entry : entries) {
        if (entry.at.index != prev.index + 1 || entry.at.term < prev.term || entry.at.term.v == 0) return false;
        if (entry.at.term > newest || !entry.verifies()) return false;
        if (entry.kind == EntryKind::kConfiguration && !decode_configuration(entry.data)) return false;
        prev = entry.at;
    }
    return true;
}

bool body_fits(Term term, const Append& append) {
    return append.prev.term <= term && chain_follows(append.prev, append.entries, term) &&
           append.leader_last >= append.prev.index + append.entries.size();
}
bool body_fits(Term, const SnapshotChunk& chunk) {
    return chunk.last.index > 0 && chunk.offset <= chunk.total && chunk.data.size() <= chunk.total - chunk.offset &&
           chunk.configuration.well_formed();
}
bool body_fits(Term, const RepairResponse& response) {
    return response.configuration.well_formed() &&
           chain_follows(response.have, response.entries, response.promised.term);
}
bool body_fits(Term term, const PreVote& request) {
    return request.campaign_term == term.next() && request.last.term <= term;
}
bool body_fits(Term term, const Vote& request) {
    return request.last.term <= term;
}
template <class Other>
bool body_fits(Term, const Other&) {
    return true;
}

}  // namespace

bool well_formed(const Message& message) {
    if (message.from.is_zero() || message.to.is_zero() || message.from == message.to) return false;
    return std::visit([&message](const auto& body) { return body_fits(message.term, body); }, message.body);
}

const char* body_name(const Body& body) {
    static constexpr std::array<const char*, std::variant_size_v<Body>> k_names = {
        "PreVote",      "PreVoteResponse",   "Vote",          "VoteResponse",     "Append",     "AppendResponse",
        "Heartbeat",    "HeartbeatResponse", "SnapshotChunk", "SnapshotResponse", "TimeoutNow", "ReadRequest",
        "ReadResponse", "RepairRequest",     "RepairResponse"};
    return k_names[body.index()];
}

}  // namespace corelet::raft
