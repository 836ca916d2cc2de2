#include "mesh/membership.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/slot_table.h"

namespace corelet::mesh {
namespace {

// Accusations kept of one observer.
constexpr usize k_accusations_max = 128;
// Observations in a heartbeat that are of silent peers, so that the turn of the others always goes on. With more
// than four times as many silent at once (accusations count for four beats) the rest is confirmed when the first
// are in the map.
constexpr usize k_silent_room = 24;
// A gap between two steps that only a pause of this process explains, in beats.
constexpr i64 k_pause_beats = 3;

}  // namespace

Membership::Membership(MembershipConfig config, MeshId mesh, CoreletId self, PeerMemory own)
    : config_(config), mesh_(mesh), self_(self), own_(own) {
    CORELET_ASSERT(!self.is_zero() && config.beat_every < config.suspect_after);
    CORELET_ASSERT(config.suspect_after < config.confirm_after);
}

MembershipEffects Membership::step(const MembershipEvent& event, Instant now, Prng& rng) {
    MembershipEffects out;
    if (!started_) {
        started_ = true;
        next_beat_ = last_step_ = now;
    }
    forgive_pause(now);
    std::visit([&](const auto& e) { on(e, now, out); }, event);
    if (now >= next_beat_) {
        judge_all(now, out);
        send_beats(now, out);
        i64 const tenth = config_.beat_every.ns / 10;
        i64 const jitter = static_cast<i64>(rng.below(static_cast<u64>(2 * tenth + 1))) - tenth;
        next_beat_ = now + config_.beat_every + Duration{jitter};
    }
    flush_memories(now, out);
    return out;
}

// Who was paused heard nobody, and that says nothing about them: the pause is taken out of all silences.
void Membership::forgive_pause(Instant now) {
    Duration const gap = now - last_step_;
    last_step_ = std::max(last_step_, now);
    if (gap <= config_.beat_every * k_pause_beats) return;
    for (auto& [id, peer] : peers_) peer.heard = peer.heard + gap;
}

void Membership::on(const Tick&, Instant, MembershipEffects&) {}

void Membership::on(const SequenceAdvanced& event, Instant, MembershipEffects&) {
    CORELET_ASSERT(event.durable_sequence >= own_.durable_sequence);
    own_.durable_sequence = event.durable_sequence;
}

void Membership::on(const IncarnationRaised& event, Instant, MembershipEffects&) {
    CORELET_ASSERT(event.incarnation >= own_.incarnation);
    own_.incarnation = event.incarnation;
    own_.began_sequence = event.began_sequence;
}

void Membership::on(const MapChanged& event, Instant now, MembershipEffects&) {
    map_epoch_ = event.epoch;
    fetch_asked_at_.reset();
    std::map<CoreletId, Peer> next;
    for (const PeerEntry& entry : event.peers) {
        if (entry.id == self_) continue;
        Peer peer;
        peer.heard = now;  // a newcomer gets its time
        if (auto known = peers_.find(entry.id); known != peers_.end()) peer = std::move(known->second);
        bool const verdict_shown = peer.entry.is_down != entry.is_down;
        peer.entry = entry;
        if (verdict_shown) peer.verdict_at.reset();
        next.emplace(entry.id, std::move(peer));
    }
    CORELET_ASSERT(next.size() <= k_corelets_max);
    peers_ = std::move(next);
    std::erase_if(memories_, [&](const auto& item) { return !peers_.contains(item.first); });
    std::erase_if(unsaved_, [&](const auto& item) { return !peers_.contains(item.first); });
}

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
bool Membership::accept_life(Peer& peer, const Heartbeat& heartbeat, MembershipEffects& out) {
    const PeerMemory& life = heartbeat.self;
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
    if (peer.nonce == life.nonce && heartbeat.beat <= peer.beat) return false;  // doubled or overtaken
    peer.nonce = life.nonce;
    peer.beat = heartbeat.beat;
    learn(peer.entry.id, life);
    return true;
}

void Membership::on(const HeartbeatReceived& event, Instant now, MembershipEffects& out) {
    const Heartbeat& heartbeat = event.heartbeat;
    if (heartbeat.mesh != mesh_) return;
    if (heartbeat.from == self_) {
        if (heartbeat.self.other_body_of(own_)) out.push_back(TwoBodies{self_, own_.nonce, heartbeat.self.nonce});
        return;
    }
    bool const ask = !fetch_asked_at_ || now - *fetch_asked_at_ >= config_.beat_every;
    if (heartbeat.map_epoch > map_epoch_ && ask) {
        fetch_asked_at_ = now;
        out.push_back(NewerMapSeen{heartbeat.from, heartbeat.map_epoch});
    }
    auto const found = peers_.find(heartbeat.from);
    if (found == peers_.end()) return;
    Peer& peer = found->second;
    if (!accept_life(peer, heartbeat, out)) {
        // It learns from the answer which map, and which life of its own, is known here.
        answer(peer, heartbeat.wants_answer, now, out);
        return;
    }
    peer.heard = now;
    peer.ever_heard = true;
    if (peer.health == PeerHealth::kSuspected) peer.health = PeerHealth::kHeard;
    hear_observations(peer, heartbeat, now, out);
    answer(peer, heartbeat.wants_answer, now, out);
}

void Membership::hear_observations(Peer& from, const Heartbeat& heartbeat, Instant now, MembershipEffects& out) {
    for (const Observation& observation : heartbeat.observations) {
        if (observation.peer == self_) {
            hear_of_self(from, observation, now, out);
            continue;
        }
        std::erase_if(from.accusations, [&](const Accusation& a) { return a.peer == observation.peer; });
        if (!peers_.contains(observation.peer)) continue;
        bool const silent = observation.silence_ms >= static_cast<u64>(config_.suspect_after.ms());
        if (silent && from.accusations.size() < k_accusations_max)
            from.accusations.push_back({observation.peer, now});
        // What it knows of a life counts here only as news; two bodies are for those to tell who hear them.
        if (!observation.memory.incarnation.is_zero()) learn(observation.peer, observation.memory);
    }
    std::erase_if(from.accusations, [&](const Accusation& a) { return now - a.at > config_.suspect_after; });
}

void Membership::hear_of_self(Peer& from, const Observation& observation, Instant now, MembershipEffects& out) {
    const PeerMemory& seen = observation.memory;
    if (seen.other_body_of(own_)) {
        out.push_back(TwoBodies{self_, own_.nonce, seen.nonce});
    } else if ((own_.rolled_back_from(seen) || seen.newer_than(own_)) && !forgotten_told_) {
        forgotten_told_ = true;
        out.push_back(OwnLifeForgotten{from.entry.id, seen});
    }
    // Refutation: whoever misses me hears from me at once.
    if (observation.silence_ms >= static_cast<u64>(config_.suspect_after.ms())) answer(from, true, now, out);
}

// Out of turn, at most twice a beat.
void Membership::answer(Peer& peer, bool wants_answer, Instant now, MembershipEffects& out) {
    if (!wants_answer || (peer.answered && now - *peer.answered < config_.beat_every / 2)) return;
    peer.answered = now;
    out.push_back(SendHeartbeat{{peer.entry.id}, make_heartbeat(now, false)});
}

bool Membership::is_heard(const Peer& peer, Instant now) const {
    return now - peer.heard < config_.suspect_after;
}

// More than half of those heard here, and this corelet, miss it; and somebody is heard.
bool Membership::most_miss(const Peer& peer, Instant now) const {
    usize observers = 1, missing = !is_heard(peer, now);
    for (const auto& [id, other] : peers_) {
        if (id == peer.entry.id || other.entry.is_out || !is_heard(other, now)) continue;
        ++observers;
        for (const Accusation& accusation : other.accusations) {
            if (accusation.peer == peer.entry.id && now - accusation.at <= config_.suspect_after) {
                ++missing;
                break;
            }
        }
    }
    return observers > 1 && missing * 2 > observers;
}

void Membership::judge_all(Instant now, MembershipEffects& out) {
    usize expected = 0, heard = 0;
    for (const auto& [id, peer] : peers_) {
        if (peer.entry.is_out || peer.entry.is_down) continue;
        ++expected;
        heard += is_heard(peer, now);
    }
    bool const isolated = expected > 0 && heard == 0;
    if (isolated != isolated_) {
        isolated_ = isolated;
        out.push_back(IsolationChanged{isolated});
    }
    // A corelet that misses most others is more likely ill itself.
    i64 const patience = heard * 2 < expected ? 2 : 1;
    for (auto& [id, peer] : peers_) {
        if (!peer.entry.is_out) judge(peer, now, patience, out);
    }
}

void Membership::judge(Peer& peer, Instant now, i64 patience, MembershipEffects& out) {
    Duration const silence = now - peer.heard;
    Incarnation incarnation = peer.entry.incarnation;
    if (auto const known = memories_.find(peer.entry.id); known != memories_.end()) {
        incarnation = std::max(incarnation, known->second.incarnation);
    }
    bool const may_repeat = !peer.verdict_at || now - *peer.verdict_at >= config_.repeat_every;
    if (silence < config_.suspect_after) {
        bool const was_down = peer.health == PeerHealth::kDown || peer.entry.is_down;
        if (!was_down || !peer.ever_heard || most_miss(peer, now)) return;
        if (peer.health == PeerHealth::kHeard && !may_repeat) return;
        peer.health = PeerHealth::kHeard;
        peer.verdict_at = now;
        out.push_back(PeerRecovered{peer.entry.id, incarnation});
        return;
    }
    if (peer.health == PeerHealth::kHeard) {
        peer.health = PeerHealth::kSuspected;
        if (!peer.entry.is_down) out.push_back(PeerSuspected{peer.entry.id});
    }
    if (silence < config_.confirm_after * patience || isolated_ || !most_miss(peer, now)) return;
    bool const first = peer.health != PeerHealth::kDown;
    peer.health = PeerHealth::kDown;
    if (peer.entry.is_down || (!first && !may_repeat)) return;
    peer.verdict_at = now;
    out.push_back(PeerConfirmedDown{peer.entry.id, incarnation});
}

void Membership::send_beats(Instant now, MembershipEffects& out) {
    SendHeartbeat to_all, to_silent;
    for (const auto& [id, peer] : peers_) {
        if (peer.entry.is_out) continue;
        (is_heard(peer, now) ? to_all : to_silent).to.push_back(id);
    }
    if (!to_all.to.empty()) {
        to_all.heartbeat = make_heartbeat(now, false);
        out.push_back(std::move(to_all));
    }
    if (!to_silent.to.empty()) {  // the probe: it asks for an answer at once
        to_silent.heartbeat = make_heartbeat(now, true);
        out.push_back(std::move(to_silent));
    }
}

void Membership::flush_memories(Instant now, MembershipEffects& out) {
    if (unsaved_.empty() || (saved_at_ && now - *saved_at_ < config_.remember_every)) return;
    saved_at_ = now;
    out.push_back(RememberPeers{{unsaved_.begin(), unsaved_.end()}});
    unsaved_.clear();
}

Heartbeat Membership::make_heartbeat(Instant now, bool wants_answer) {
    Heartbeat heartbeat{mesh_, self_, own_, map_epoch_, ++beat_, wants_answer, {}};
    observe(now, false, peers_.size() <= k_observations_max ? k_observations_max : k_silent_room, next_silent_,
            heartbeat);
    observe(now, true, k_observations_max, next_heard_, heartbeat);
    return heartbeat;
}

// Adds observations of peers that are (or are not) heard until `room` are in it, from `turn` on, and moves that on.
void Membership::observe(Instant now, bool heard, usize room, CoreletId& turn, Heartbeat& heartbeat) const {
    auto it = peers_.lower_bound(turn);
    for (usize i = 0; i < peers_.size() && heartbeat.observations.size() < room; ++i, ++it) {
        if (it == peers_.end()) it = peers_.begin();
        const Peer& peer = it->second;
        if (peer.entry.is_out || is_heard(peer, now) != heard) continue;
        i64 const silence_ms = std::clamp<i64>((now - peer.heard).ms(), 0, UINT32_MAX);
        heartbeat.observations.push_back(
            {it->first, memory(it->first).value_or(PeerMemory{}), static_cast<u32>(silence_ms)});
    }
    turn = it == peers_.end() ? CoreletId{} : it->first;
}

std::vector<PeerView> Membership::view(Instant now) const {
    std::vector<PeerView> out;
    for (const auto& [id, peer] : peers_) {
        auto const known = memories_.find(id);
        out.push_back({id, peer.health, std::max(now - peer.heard, Duration{}),
                       known == memories_.end() ? PeerMemory{} : known->second});
    }
    return out;
}

PeerHealth Membership::health(CoreletId peer) const {
    auto const found = peers_.find(peer);
    return found == peers_.end() ? PeerHealth::kDown : found->second.health;
}

std::optional<PeerMemory> Membership::memory(CoreletId peer) const {
    auto const found = memories_.find(peer);
    if (found == memories_.end()) return std::nullopt;
    return found->second;
}

}  // namespace corelet::mesh
