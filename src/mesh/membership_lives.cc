// Membership: which life of a corelet speaks, and what it says of the others.
#include <algorithm>

#include "mesh/membership.h"

namespace corelet::mesh {

void Membership::on(const MemoryKnown& event, Instant, MembershipEffects& out) {
    if (event.id == self_ || !peers_.contains(event.id)) return;
    auto const known = memories_.find(event.id);
    if (known != memories_.end() && event.memory.other_body_of(known->second)) {
        out.push_back(TwoBodies{event.id, known->second.nonce, event.memory.nonce});
        if (!event.recorded) return;
        known->second = event.memory;
        unsaved_[event.id] = event.memory;
        return;
    }
    learn(event.id, event.memory);
}

void Membership::learn(CoreletId id, const PeerMemory& memory) {
    auto const [known, fresh] = memories_.try_emplace(id, memory);
    if (!fresh && !memory.newer_than(known->second)) return;
    known->second = memory;
    unsaved_[id] = memory;
}

// A life that is over proves nothing, however loudly it speaks.
bool Membership::accept_life(Peer& peer, const GossipMessage& message, MembershipEffects& out) {
    const PeerMemory& life = message.self;
    bool stale = life.incarnation < peer.entry.incarnation;
    stale = stale || (peer.entry.is_out && life.incarnation == peer.entry.incarnation);
    auto const known = memories_.find(peer.entry.id);
    if (known != memories_.end()) stale = stale || life.rolled_back_from(known->second);
    if (stale) {
        out.push_back(StaleLifeSeen{peer.entry.id, life});
        return false;
    }
    if (known != memories_.end() && life.other_body_of(known->second)) {
        out.push_back(TwoBodies{peer.entry.id, known->second.nonce, life.nonce});
        return false;
    }
    if (peer.nonce == life.nonce && message.number <= peer.number) return false;  // doubled or overtaken
    peer.nonce = life.nonce;
    peer.number = message.number;
    peer.map_epoch = message.map_epoch;
    learn(peer.entry.id, life);
    return true;
}

void Membership::hear_observations(Peer& from, const GossipMessage& message, Instant now, MembershipEffects& out) {
    for (const Observation& observation : message.observations) {
        CoreletId const observer = observation.observer.is_zero() ? message.from : observation.observer;
        if (observer == self_) continue;
        if (observation.peer == self_) {
            hear_of_self(from, observation, now, out);
            continue;
        }
        auto const found = peers_.find(observation.peer);
        if (found == peers_.end()) continue;
        // What it knows of a life counts here only as news; two bodies are for those to tell who hear them.
        if (!observation.memory.incarnation.is_zero()) learn(observation.peer, observation.memory);
        if (observation.silence_ms != k_not_probed) hear_of_peer(found->second, observer, observation, now);
    }
}

void Membership::hear_of_self(Peer& from, const Observation& observation, Instant now, MembershipEffects& out) {
    const PeerMemory& seen = observation.memory;
    if (seen.incarnation.is_zero()) {
        // A suspicion that was passed on says nothing of lives.
    } else if (seen.other_body_of(own_)) {
        out.push_back(TwoBodies{self_, own_.nonce, seen.nonce});
    } else if ((own_.rolled_back_from(seen) || seen.newer_than(own_)) && !forgotten_told_) {
        forgotten_told_ = true;
        out.push_back(OwnLifeForgotten{from.entry.id, seen});
    }
    bool const missed = observation.silence_ms != k_not_probed &&
                        observation.silence_ms >= static_cast<u64>(config_.suspect_after.ms());
    if (missed) show_self(observation.observer.is_zero() ? from.entry.id : observation.observer, now, out);
}

void Membership::hear_of_peer(Peer& peer, CoreletId observer, const Observation& observation, Instant now) {
    Duration const age{static_cast<i64>(observation.age_ms) * 1'000'000};
    Duration const silence{static_cast<i64>(observation.silence_ms) * 1'000'000};
    Instant const said = now - age;
    if (said - silence > peer.alive) {
        peer.alive = said - silence;
        peer.via = observer;
    }
    bool const missed = silence >= config_.suspect_after;
    if (missed) {
        Observation word = observation;
        word.observer = observer;
        word.memory = {};
        (void)rumours_.hear(word, said, now, peers_.size() + 1);
    }
    if (!peer.is_subject) {
        if (missed)
            peer.suspected_until = std::max(peer.suspected_until, said + Rumours::k_life);
        else if (age.ns == 0)
            peer.suspected_until = {};
        return;
    }
    if (std::find(peer.observers.begin(), peer.observers.end(), observer) == peer.observers.end()) return;
    if (age.ns == 0 && peer.awaited != 0) answered_ = now;  // it was asked, and says
    auto const known = std::find_if(peer.votes.begin(), peer.votes.end(),
                                    [&](const Vote& vote) { return vote.observer == observer; });
    if (known == peer.votes.end())
        peer.votes.push_back({observer, said, silence});
    else if (said > known->at)
        *known = {observer, said, silence};
}

}  // namespace corelet::mesh
