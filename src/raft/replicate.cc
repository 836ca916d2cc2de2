// The leader's side of replication: proposals, appends, heartbeats, check-quorum (Raft 5.3;
// dissertation 6.2, 10.2).
#include "base/assert.h"

#include "base/fault_point.h"
#include "raft/codec.h"
#include "raft/core.h"

namespace corelet::raft {

Result<Position> Core::propose(Payload command) {
    if (role_ != Role::kLeader) return fail(Code::kNotLeader, "not the leader", leader_.v);
    if (handover_) return fail(Code::kUnavailable, "leadership is being handed over");
    if (command.size() > options_.entry_bytes_max) return fail(Code::kInvalid, "command too long", command.size());
    if (uncommitted_bytes_ + command.size() > options_.uncommitted_bytes_max) {
        return fail(Code::kOverloaded, "too much is proposed and not committed");
    }
    if (log_.bytes() + command.size() > options_.log_bytes_max) {
        return fail(Code::kOverloaded, "the log is full until a snapshot is saved");
    }
    leader_append(EntryKind::kCommand, std::move(command));
    return log_.last();
}

void Core::leader_append(EntryKind kind, Payload data) {
    CORELET_ASSERT(role_ == Role::kLeader);
    Entry entry = make_entry({hard_.term, log_.last().index + 1}, kind, std::move(data));
    uncommitted_bytes_ += entry.bytes();
    accept_entry(entry);
}

void Core::heartbeat_due() {
    CORELET_ASSERT(role_ == Role::kLeader);
    if (!quorum_is_alive()) {
        become_follower(hard_.term, CoreletId());
        return;
    }
    for (auto& [id, peer] : peers_) peer.pause_if_silent(now_ - options_.election_timeout_max);
    broadcast_heartbeat();
}

bool Core::quorum_is_alive() const {
    Instant const heard = quorum_value(now_, [](const Progress& peer) { return peer.last_promise(); });
    return now_ - heard < options_.election_timeout_max;
}

void Core::broadcast_heartbeat() {
    heartbeat_deadline_ = now_ + options_.heartbeat;
    for (const auto& [id, peer] : peers_) post(id, Heartbeat{round_}, When::kNow);
}

void Core::flush_appends() {
    for (auto& [id, peer] : peers_) flush_appends_to(id, peer);
}

void Core::flush_appends_to(CoreletId to, Progress& peer) {
    Index const last = log_.last().index;
    while (peer.may_send(last, options_)) send_append(to, peer, true);
    if (peer.wants_nudge(hard_.commit, options_)) send_append(to, peer, false);
}

// May leave before it is durable here: our own copy counts only once it is.
void Core::send_append(CoreletId to, Progress& peer, bool with_entries) {
    CORELET_ASSERT(role_ == Role::kLeader && peer.next() > 0 && peer.next() <= log_.last().index + 1);
    Index const prev = peer.next() - 1;
    std::optional<Term> const prev_term = log_.term_at(prev);
    if (!prev_term) {
        start_transfer(to, peer);
        return;
    }
    Append append{{*prev_term, prev}, {}, hard_.commit, log_.last().index};
    if (with_entries)
        append.entries = log_.slice(peer.next(), log_.last().index,
                                    FAULT_POINT("raft.small_append") ? 1 : options_.append_bytes_max);
    peer.sent(prev + append.entries.size(), append.entries.empty(), hard_.commit, now_);
    post(to, std::move(append), When::kNow);
}

void Core::on(const Message& message, const AppendResponse& response) {
    auto const found = peers_.find(message.from);
    if (role_ != Role::kLeader || found == peers_.end()) return;
    Progress& peer = found->second;
    peer.heard(now_, response.promise);
    if (response.match > log_.last().index || response.rejected > log_.last().index) {
        ++dropped_;  // of a log that is not ours
        return;
    }
    if (!response.accepted) {
        // Where both logs may agree: not beyond the follower's hint, and with a term of ours no newer than there.
        Position const ours = log_.last_at_or_below(response.hint.index, response.hint.term);
        (void)peer.rejected(response.rejected, std::min(response.hint.index, ours.index), response.promise);
        return;
    }
    if (peer.accepted(response.match, response.promise)) {
        handover_step();
        advance_commit();  // the last: it may end our leadership
    }
}

void Core::on(const Message& message, const HeartbeatResponse& response) {
    auto const found = peers_.find(message.from);
    if (role_ != Role::kLeader || found == peers_.end() || response.round > round_) return;
    Progress& peer = found->second;
    peer.heard(now_, response.promise);
    peer.heartbeat_answered(response.round, response.promise, response.commit, now_ - options_.heartbeat);
    if (peer.state() == Progress::State::kSnapshot) resend_chunk(message.from, peer);
    confirm_reads();
}

}  // namespace corelet::raft
