// Membership: pings, acknowledgements, and questions to others.
#include <algorithm>

#include "base/assert.h"
#include "mesh/membership.h"

namespace corelet::mesh {
namespace {

// Of a peer's: whoever asks beyond that is not told.
constexpr usize k_askers_max = 16;
// A question is answered from memory when the last answer is no older.
constexpr Duration k_fresh = 500_ms;
// Between two messages to one peer that are not in the plan.
constexpr Duration k_answer_gap = 50_ms;
// In each message, beside the word on its receiver.
constexpr usize k_rumours_each = 8;
constexpr usize k_memories_each = 2;

}  // namespace

void Membership::probe(Peer& peer, Instant now, Prng& rng, MembershipEffects& out) {
    bool const again = peer.awaited != 0;
    u64 const number = ping(peer, now, out);
    if (!again) {
        i64 const tenth = config_.probe_every.ns / 10;
        i64 const jitter = static_cast<i64>(rng.below(static_cast<u64>(2 * tenth + 1))) - tenth;
        peer.awaited = number;
        peer.awaited_since = now;
        peer.help_asked.reset();
        peer.round_due = now + config_.probe_every + Duration{jitter};
        peer.probe_due = now + patient(config_.ack_within);
        return;
    }
    // There is no hurry about one that others reach; one that the map has as down is not even asked after.
    bool const hurry = !peer.entry.is_down && peer.health != PeerHealth::kIndirect;
    peer.probe_due = now + (hurry ? patient(config_.retry_every) : config_.probe_every);
    if (!peer.entry.is_down) ask_for_help(peer, now, out);
}

u64 Membership::ping(Peer& peer, Instant now, MembershipEffects& out) {
    GossipMessage message = make_message(peer, now);
    message.wants_ack = true;
    out.push_back(SendGossip{peer.entry.id, std::move(message)});
    return number_;
}

// Nobody's answer to the last question means that this corelet itself may be the one that is not heard.
void Membership::ask_for_help(Peer& peer, Instant now, MembershipEffects& out) {
    bool const told = std::any_of(peer.votes.begin(), peer.votes.end(),
                                  [&](const Vote& vote) { return peer.help_asked && vote.at >= *peer.help_asked; });
    if (peer.help_asked && !told && !peer.observers.empty()) local_health_.failed();
    peer.help_asked = now;
    for (CoreletId observer : peer.observers) {
        GossipMessage message = make_message(peers_.at(observer), now);
        message.probe.push_back(peer.entry.id);
        out.push_back(SendGossip{observer, std::move(message)});
    }
}

void Membership::acknowledged(Peer& peer, Instant now, MembershipEffects& out) {
    peer.awaited = 0;
    peer.reached = peer.alive = answered_ = now;
    peer.via = self_;
    peer.ever_reached = true;
    peer.probe_due = std::max(peer.round_due, now);
    peer.suspected_until = {};
    local_health_.succeeded();
    if (!peer.askers.empty()) tell_askers(peer, now, out);
}

// A life that is not accepted here may ask as often as it likes, and is told seldom.
void Membership::answer(Peer& peer, u64 number, Instant now, MembershipEffects& out) {
    if (peer.answered_at && now - *peer.answered_at < k_answer_gap) return;
    peer.answered_at = now;
    GossipMessage message = make_message(peer, now);
    message.acks = number;
    out.push_back(SendGossip{peer.entry.id, std::move(message)});
}

// Refutation: whoever misses this corelet hears from it at once, and what it then answers shows whether it can be
// heard here.
void Membership::show_self(CoreletId observer, Instant now, MembershipEffects& out) {
    auto const found = peers_.find(observer);
    if (found == peers_.end()) return;
    Peer& peer = found->second;
    if (peer.answered_at && now - *peer.answered_at < k_answer_gap) return;
    peer.answered_at = now;
    ping(peer, now, out);
}

void Membership::asked_to_probe(Peer& asker, CoreletId subject, Instant now, MembershipEffects& out) {
    auto const found = peers_.find(subject);
    if (found == peers_.end() || &found->second == &asker) return;
    Peer& peer = found->second;
    auto& askers = peer.askers;
    bool const known = std::find(askers.begin(), askers.end(), asker.entry.id) != askers.end();
    if (!known && askers.size() == k_askers_max) return;
    if (askers.empty()) {
        asked_of_.push_back(subject);
        peer.askers_due = now + config_.ack_within;
    }
    if (!known) askers.push_back(asker.entry.id);
    if (peer.ever_reached && now - peer.reached < k_fresh) {
        tell_askers(peer, now, out);
        return;
    }
    u64 const number = ping(peer, now, out);
    if (peer.awaited == 0) {
        peer.awaited = number;
        peer.awaited_since = now;
    }
    if (!peer.is_subject) peer.round_due = now;
}

// Whether it answered or not: no answer is one, too.
void Membership::tell_askers(Peer& peer, Instant now, MembershipEffects& out) {
    for (CoreletId asker : peer.askers) {
        auto const found = peers_.find(asker);
        if (found == peers_.end()) continue;
        GossipMessage message = make_message(found->second, now);
        message.observations.push_back(own_word(peer, now));
        out.push_back(SendGossip{asker, std::move(message)});
    }
    peer.askers.clear();
    if (!peer.is_subject) peer.awaited = 0;
    std::erase(asked_of_, peer.entry.id);
}

void Membership::tell_late_askers(Instant now, MembershipEffects& out) {
    for (usize i = asked_of_.size(); i-- > 0;) {
        Peer& peer = peers_.at(asked_of_[i]);
        if (now >= peer.askers_due) tell_askers(peer, now, out);
    }
}

Observation Membership::own_word(const Peer& peer, Instant now) const {
    Observation word{peer.entry.id, memory(peer.entry.id).value_or(PeerMemory{}), k_not_probed, {}, 0};
    if (peer.is_subject || peer.ever_reached)
        word.silence_ms = static_cast<u32>(std::clamp<i64>((now - peer.reached).ms(), 0, k_not_probed - 1));
    return word;
}

// The word on its receiver tells it what is known of its lives, and whether it is missed.
GossipMessage Membership::make_message(const Peer& to, Instant now) {
    GossipMessage message{mesh_, self_, own_, map_news_.epoch(), ++number_, false, 0, {}, {}, {}};
    Observation about = own_word(to, now);
    if (!to.is_subject) about.silence_ms = k_not_probed;
    if (about.silence_ms != k_not_probed || !about.memory.incarnation.is_zero())
        message.observations.push_back(about);
    rumours_.pass_on(k_rumours_each, now, message.observations);
    auto next = memories_.lower_bound(next_memory_);
    for (usize i = 0; i < std::min(k_memories_each, memories_.size()); ++i, ++next) {
        if (next == memories_.end()) next = memories_.begin();
        message.observations.push_back({next->first, next->second, k_not_probed, {}, 0});
    }
    next_memory_ = next == memories_.end() ? CoreletId{} : next->first;
    return message;
}

}  // namespace corelet::mesh
