// What voters and learners say to each other. `Message::term` is always the sender's current term, durable before
// the message leaves it.
#pragma once

#include <variant>

#include "raft/types.h"

namespace corelet::raft {

// Would you vote for me in `campaign_term`? Binds nobody (dissertation 9.6).
struct PreVote {
    Term campaign_term;
    Position last;
};
struct PreVoteResponse {
    Term campaign_term;
    bool granted = false;
};
// A request for a vote in `Message::term`. `transfer`: the leader asked for it, so the quiet period after hearing
// from a leader does not apply.
struct Vote {
    Position last;
    bool transfer = false;
};
struct VoteResponse {
    bool granted = false;
};
// Entries that follow `prev`, possibly none. `leader_last` is the leader's last index when it was sent.
struct Append {
    Position prev;
    std::vector<Entry> entries;
    Index commit = 0;
    Index leader_last = 0;
};
// Accepted: the log equals the leader's up to `match`, durably. Rejected: `rejected` is the `prev` index that did
// not match, `hint` the last place at or below it that may. Without `promise` it steers the flow and counts for
// nothing.
struct AppendResponse {
    bool accepted = false;
    bool promise = false;
    Index match = 0;
    Index rejected = 0;
    Position hint;
};
// A sign of life and a round of ReadIndex; answered without waiting for the media.
struct Heartbeat {
    u64 round = 0;
};
struct HeartbeatResponse {
    u64 round = 0;
    bool promise = false;
    Index commit = 0;
};
// Bytes [offset, offset + data) of the `total` bytes of the state at `last`. `repair`: from a peer that does not
// lead, to a voter whose log rotted.
struct SnapshotChunk {
    Position last;
    Configuration configuration;
    u64 total = 0;
    u32 crc = 0;
    u64 offset = 0;
    Payload data;
    bool repair = false;
};
struct SnapshotResponse {
    Position last;
    u64 next_offset = 0;
    bool repair = false;
};
// From a leader that hands over: campaign at once.
struct TimeoutNow {};
// A read that a follower forwards. `nonce` is drawn at each start, so that no answer to a former life is taken.
struct ReadRequest {
    u64 nonce = 0;
    u64 number = 0;
};
struct ReadResponse {
    u64 nonce = 0;
    u64 number = 0;
    bool granted = false;
    Index index = 0;
};
// From a voter whose log rotted and that hears no leader: it has the log up to `have` and promised up to
// `promised`.
struct RepairRequest {
    Position have;
    Position promised;
};
// Either entries that follow `have` on the way to `promised`, or the statement that this voter lacks `promised`
// and, being in a later term, will not take it from the leader that made it.
struct RepairResponse {
    Position have;
    Position promised;
    bool lacks = false;
    Configuration configuration;
    std::vector<Entry> entries;
};

using Body = std::variant<PreVote, PreVoteResponse, Vote, VoteResponse, Append, AppendResponse, Heartbeat,
                          HeartbeatResponse, SnapshotChunk, SnapshotResponse, TimeoutNow, ReadRequest, ReadResponse,
                          RepairRequest, RepairResponse>;

struct Message {
    CoreletId from;
    CoreletId to;
    Term term;
    Body body;
};

// Whether it makes sense by itself: entries follow each other and verify, terms do not fall, nothing is newer than
// the sender's term, a chunk lies within its total. What comes from outside is held to this before it reaches the
// core.
[[nodiscard]] bool well_formed(const Message& message);
[[nodiscard]] const char* body_name(const Body& body);

}  // namespace corelet::raft
