// The follower's side of replication (Raft 5.3).
#include "base/assert.h"
#include "raft/codec.h"
#include "raft/core.h"

namespace corelet::raft {

void Core::on(const Message& message, const Append& append) {
    CORELET_ASSERT(message.term == hard_.term);
    hear_leader(message.from);
    if (append.prev.index < log_.base().index) {
        // What is compacted here is committed, and so the leader's too.
        post_accepted(message.from, hard_.commit);
        return;
    }
    if (!log_.matches(append.prev)) {
        Position const hint = log_.last_at_or_below(append.prev.index, append.prev.term);
        post(message.from, AppendResponse{false, promises(), 0, append.prev.index, hint}, When::kNow);
        return;
    }
    merge(append.entries);
    Index const matched = append.prev.index + append.entries.size();
    Index const committed = std::min(append.commit, matched);
    if (committed > hard_.commit) commit_to(committed);
    repair_by_leader(matched, append.leader_last);
    post_accepted(message.from, matched);
}

void Core::on(const Message& message, const Heartbeat& heartbeat) {
    CORELET_ASSERT(message.term == hard_.term);
    hear_leader(message.from);
    post(message.from, HeartbeatResponse{heartbeat.round, promises(), hard_.commit}, When::kNow);
}

// The promise is in the durable log, so it waits for it.
void Core::post_accepted(CoreletId to, Index match) {
    CORELET_ASSERT(match <= log_.last().index);
    post(to, AppendResponse{true, promises(), match, 0, {}}, When::kDurable);
}

// Entries after a place that both logs share. What is here already stays, also if the message is an old one; only a
// different term at the same index is a conflict.
void Core::merge(const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) {
        std::optional<Term> const here = log_.term_at(entry.at.index);
        if (here == entry.at.term) continue;
        if (here) truncate_log(entry.at.index);
        accept_entry(entry);
    }
}

void Core::accept_entry(const Entry& entry) {
    log_.append(entry);
    if (entry.kind == EntryKind::kConfiguration) {
        configurations_.append(entry.at.index, *decode_configuration(entry.data));
    }
}

void Core::truncate_log(Index from) {
    CORELET_ASSERT(from > hard_.commit, "what is committed is never undone");
    CORELET_ASSERT(role_ != Role::kLeader, "a leader only appends");
    log_.truncate_from(from);
    configurations_.truncate_from(from);
    for (Batch& batch : in_flight_) batch.last = std::min(batch.last, from - 1);
}

}  // namespace corelet::raft
