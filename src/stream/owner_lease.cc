#include "stream/owner_core.h"

namespace corelet {

OwnerCore::Replica* OwnerCore::find(SegmentId segment, CoreletId id) {
    if (!open_ || open_->id != segment) return nullptr;
    for (Replica& replica : replicas_)
        if (replica.id == id) return &replica;
    return nullptr;
}

bool OwnerCore::holds_lease(Instant now) const {
    if (stopped_ || !open_) return false;
    Duration const valid = options_.times.lease - options_.times.lease_margin;
    for (const Replica& replica : replicas_)
        if (!replica.promise_from || now - *replica.promise_from >= valid) return false;
    return true;
}

void OwnerCore::heartbeat_answered(SegmentId segment, CoreletId id, Instant sent, Instant now, OwnerEffects& out) {
    Replica* const replica = find(segment, id);
    if (!replica || stopped_) return;
    CORELET_ASSERT(sent <= now);
    if (!replica->promise_from || *replica->promise_from < sent) replica->promise_from = sent;
    if (replica->heartbeat_out && *replica->heartbeat_out <= sent) replica->heartbeat_out.reset();
    resume_if_answered(*replica, now, out);
}

// One heartbeat a replica at a time; an append in flight renews as well. One that failed, and that no standby does
// without, is asked on: it may come back.
void OwnerCore::send_heartbeats(Instant now, OwnerEffects& out) {
    if (!open_ || stopped_) return;
    for (Replica& replica : replicas_) {
        bool const due = !replica.promise_from || now - *replica.promise_from >= options_.times.heartbeat;
        if (!due || replica.heartbeat_out || now < replica.heartbeat_after) continue;
        replica.heartbeat_out = now;
        out.push_back(owner_effect::SendHeartbeat{open_->id, replica.id, now});
    }
}

void OwnerCore::tick(Instant now, OwnerEffects& out) {
    if (stopped_) return;
    check_answers(now, out);
    send_heartbeats(now, out);
    flush(now, out);
    bool const idle = in_flight_.empty() && pending_.empty() && now - last_activity_ >= options_.idle_roll;
    if (idle && open_used_) request_roll(now, out);
}

// While something is out, answers are watched closely; an idle stream wakes only for its lease.
Instant OwnerCore::next_tick() const {
    Instant next = last_activity_ + options_.idle_roll;
    if (!open_used_ || !in_flight_.empty() || !pending_.empty()) next = Instant{INT64_MAX / 2};
    if (is_gathering() && open_ && !stuck_ && !want_roll_ && !stopped_) next = std::min(next, gather_until_);
    for (const Replica& replica : replicas_) {
        if (auto const oldest = oldest_unanswered(replica); oldest && !replica.failed) {
            next = std::min(next, *oldest + options_.times.no_answer);
            if (!stuck_) next = std::min(next, std::max(next_lag_check_, *oldest + lag_limit()));
        }
        if (!replica.heartbeat_out) {
            Instant const due = replica.promise_from ? *replica.promise_from + options_.times.heartbeat : Instant{};
            next = std::min(next, std::max(due, replica.heartbeat_after));
        }
    }
    return next;
}

}  // namespace corelet
