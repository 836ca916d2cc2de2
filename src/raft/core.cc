// Dispatch: what reaches a transition, and how what the transitions did becomes effects.
#include "raft/core.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::raft {

void Core::tick(Instant now) {
    if (failed_) return;
    now_ = std::max(now_, now);
    expire_reads();
    if (role_ == Role::kLeader) {
        if (now_ >= heartbeat_deadline_) heartbeat_due();
        if (handover_ && now_ >= handover_->deadline) handover_.reset();
    } else if (now_ >= election_deadline_) {
        election_due();
    }
    check();
}

Instant Core::next_tick() const {
    if (failed_) return now_ + k_forever;
    if (role_ != Role::kLeader) return election_deadline_;
    return handover_ ? std::min(heartbeat_deadline_, handover_->deadline) : heartbeat_deadline_;
}

void Core::step(const Message& message) {
    if (failed_) return;
    if (message.to != self_ || !well_formed(message)) {
        ++dropped_;
        return;
    }
    if (!term_fits(message)) return;
    std::visit([this, &message](const auto& body) { on(message, body); }, message.body);
    check();
}

bool Core::term_fits(const Message& message) {
    if (message.term > hard_.term) return newer_term_fits(message);
    if (message.term < hard_.term) return older_term_fits(message);
    return true;
}

// A newer term is taken over, but for questions that must not disturb: a pre-vote, a repair, and a vote asked for
// while a leader is heard (dissertation 4.2.3).
bool Core::newer_term_fits(const Message& message) {
    if (std::holds_alternative<PreVote>(message.body)) return true;
    if (std::holds_alternative<RepairRequest>(message.body)) return true;
    if (auto const* vote = std::get_if<Vote>(&message.body); vote && !vote->transfer && hears_leader())
        return false;
    auto const* chunk = std::get_if<SnapshotChunk>(&message.body);
    bool const leads = std::holds_alternative<Append>(message.body) ||
                       std::holds_alternative<Heartbeat>(message.body) || (chunk && !chunk->repair);
    become_follower(message.term, leads ? message.from : CoreletId());
    return true;
}

// What counts only within its term is dropped; an old leader, or one that cannot know our term, is told it.
bool Core::older_term_fits(const Message& message) {
    if (auto const* chunk = std::get_if<SnapshotChunk>(&message.body)) {
        if (chunk->repair) return true;
        answer_stale(message);
        return false;
    }
    if (auto const* response = std::get_if<SnapshotResponse>(&message.body)) return response->repair;
    if (std::holds_alternative<Append>(message.body) || std::holds_alternative<Heartbeat>(message.body)) {
        answer_stale(message);
        return false;
    }
    return std::holds_alternative<PreVote>(message.body) || std::holds_alternative<PreVoteResponse>(message.body) ||
           std::holds_alternative<Vote>(message.body) || std::holds_alternative<ReadRequest>(message.body) ||
           std::holds_alternative<ReadResponse>(message.body) ||
           std::holds_alternative<RepairRequest>(message.body) ||
           std::holds_alternative<RepairResponse>(message.body);
}

void Core::answer_stale(const Message& message) {
    CORELET_ASSERT(message.term < hard_.term);
    post(message.from, HeartbeatResponse{0, false, hard_.commit}, When::kNow);
}

// Every message tells our term, so none leaves before the term is durable.
void Core::post(CoreletId to, Body body, When when) {
    CORELET_ASSERT(to != self_ && !to.is_zero());
    bool const term_is_durable = durable_.term == hard_.term;
    CORELET_ASSERT(durable_.term <= hard_.term);
    auto& out = when == When::kNow && term_is_durable ? out_now_ : out_durable_;
    Message message{self_, to, hard_.term, std::move(body)};
    if (covers_earlier(out, message)) return;
    if (out.size() >= options_.outbox_messages_max) {
        ++dropped_;  // none has to arrive
        return;
    }
    out.push_back(std::move(message));
}

// A later answer to the same member says all that an earlier one of the term said; so however long a journal takes,
// what waits for it stays small.
bool Core::covers_earlier(std::vector<Message>& out, const Message& message) {
    auto const* accepted = std::get_if<AppendResponse>(&message.body);
    bool const answer = (accepted && accepted->accepted) || std::holds_alternative<HeartbeatResponse>(message.body);
    if (!answer) return false;
    auto const earlier = std::find_if(out.begin(), out.end(), [&](const Message& other) {
        auto const* response = std::get_if<AppendResponse>(&other.body);
        return other.to == message.to && other.term == message.term && other.body.index() == message.body.index() &&
               (!response || response->accepted);
    });
    if (earlier == out.end()) return false;
    Message const before = std::exchange(*earlier, message);
    if (accepted) {
        Index& match = std::get<AppendResponse>(earlier->body).match;
        match = std::max(match, std::get<AppendResponse>(before.body).match);
    } else {
        u64& round = std::get<HeartbeatResponse>(earlier->body).round;
        round = std::max(round, std::get<HeartbeatResponse>(before.body).round);
    }
    return true;
}

Effects Core::take(Journal journal) {
    Effects effects;
    if (failed_) return effects;
    if (role_ == Role::kLeader) {
        begin_read_round();
        flush_appends();
    }
    if (journal == Journal::kReady) collect_persist(effects);
    effects.ticket = ticket_;
    collect_apply(effects);
    collect_sends(effects, journal);
    effects.reads = std::exchange(out_reads_, {});
    check();
    return effects;
}

void Core::collect_persist(Effects& effects) {
    Log::Unissued unissued = log_.take_unissued(options_.persist_bytes_max);
    bool const promised =
        issued_.term != hard_.term || issued_.vote != hard_.vote || issued_.repairing != hard_.repairing;
    if (unissued.empty() && !promised && !to_install_) return;
    Persist persist;
    Batch batch;
    persist.hard_state = hard_;
    if (log_.any_unissued()) {
        // A first part: it must not claim to have what comes with the next.
        persist.hard_state.commit = std::min(hard_.commit, log_.issued());
        persist.hard_state.repairing = issued_.repairing;
    }
    batch.hard = issued_ = persist.hard_state;
    if (to_install_) {
        CORELET_ASSERT(log_.snapshot() && log_.base() == log_.snapshot()->last);
        persist.snapshot = log_.snapshot();
        persist.reset_log = true;
        persist.compact_to = log_.base().index;
        batch.install = log_.base();
    }
    to_install_ = false;
    persist.truncate_from = unissued.truncate_from;
    persist.entries = std::move(unissued.entries);
    batch.last = log_.issued();
    persist.last = {log_.term_at(log_.issued()).value(), log_.issued()};
    batch.ticket = ++ticket_;
    in_flight_.push_back(std::move(batch));
    effects.persist = std::move(persist);
}

// What waits for durability waits for the newest batch: whatever the message says is in it or in an older one.
// While the journal is busy it may also be in none yet.
void Core::collect_sends(Effects& effects, Journal journal) {
    effects.send_now = std::exchange(out_now_, {});
    if (journal == Journal::kBusy || log_.any_unissued()) return;
    effects.send_after = std::exchange(out_durable_, {});
    if (!in_flight_.empty()) return;
    effects.send_now.insert(effects.send_now.end(), std::make_move_iterator(effects.send_after.begin()),
                            std::make_move_iterator(effects.send_after.end()));
    effects.send_after.clear();
}

// Only what is durable here is applied, so that a state machine is never ahead of its own log.
void Core::collect_apply(Effects& effects) {
    if (installable_) {
        CORELET_ASSERT(installable_->last.index > handed_ && installable_->verifies());
        handed_ = installable_->last.index;
        effects.install = std::exchange(installable_, std::nullopt);
    } else if (handed_ != applied_) {
        return;
    }
    Index const last = std::min(hard_.commit, log_.durable());
    if (handed_ >= last) return;
    effects.apply = log_.slice(handed_ + 1, last, options_.apply_bytes_max);
    handed_ = effects.apply.back().at.index;
}

void Core::persisted(u64 ticket) {
    CORELET_ASSERT(ticket <= ticket_, "a batch that was never handed out");
    if (failed_) return;
    while (!in_flight_.empty() && in_flight_.front().ticket <= ticket) {
        Batch const batch = std::move(in_flight_.front());
        in_flight_.pop_front();
        batch_durable(batch);
    }
    check();
}

void Core::batch_durable(const Batch& batch) {
    CORELET_ASSERT(batch.hard.term >= durable_.term);
    durable_ = batch.hard;
    log_.mark_durable(batch.last);
    install_durable(batch);
    own_vote_durable();
    if (role_ == Role::kLeader) advance_commit();
}

void Core::applied(Index index) {
    CORELET_ASSERT(index >= applied_ && index <= handed_, "applied what was not handed out");
    applied_ = index;
    for (ReadState& read : reads_.take_applied(applied_)) out_reads_.push_back(std::move(read));
}

void Core::bar(Bar reason) {
    CORELET_ASSERT(reason != Bar::kRotten, "the core's own to raise");
    bars_ |= static_cast<u8>(reason);
    if (role_ != Role::kFollower) become_follower(hard_.term, CoreletId());
    check();
}

void Core::lift(Bar reason) {
    CORELET_ASSERT(reason != Bar::kRotten, "the core's own to lift");
    bars_ = static_cast<u8>(bars_ & ~static_cast<u8>(reason));
}

void Core::fail_device() {
    if (failed_) return;
    become_follower(hard_.term, CoreletId());
    failed_ = true;
    out_now_.clear();
    out_durable_.clear();
}

bool Core::snapshot_due() const {
    Index const floor = log_.snapshot() ? log_.snapshot()->last.index : 0;
    if (applied_ <= floor || to_install_) return false;
    return applied_ - floor > options_.snapshot_due_entries ||
           log_.bytes() > options_.snapshot_due_bytes + options_.trailing_bytes;
}

std::vector<Core::Peer> Core::peers() const {
    std::vector<Peer> out;
    for (const auto& [id, peer] : peers_) out.push_back({id, peer.match(), now_ - peer.last_promise()});
    return out;
}

void Core::check() const {
    CORELET_ASSERT(applied_ <= handed_ && handed_ <= hard_.commit && hard_.commit <= log_.last().index);
    CORELET_ASSERT(log_.last().term <= hard_.term && durable_.term <= hard_.term);
    CORELET_ASSERT(role_ != Role::kLeader || (leader_ == self_ && bars_ == 0 && hard_.vote == self_));
    CORELET_ASSERT(role_ == Role::kLeader || (peers_.empty() && !handover_));
    CORELET_ASSERT((hard_.repairing.index > 0) == rotten());
}

}  // namespace corelet::raft
