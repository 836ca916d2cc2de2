#include "mesh/membership.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/slot_table.h"

namespace corelet::mesh {
namespace {

// A step so late is a sign of this corelet's own trouble; beyond the second it was paused.
constexpr Duration k_late = 100_ms;
constexpr Duration k_paused = 500_ms;
constexpr Duration k_idle_tick = 1_s;

}  // namespace

Membership::Membership(MembershipConfig config, MeshId mesh, CoreletId self, PeerMemory own)
    : config_(config), mesh_(mesh), self_(self), own_(own) {
    CORELET_ASSERT(!self.is_zero() && config.ack_within < config.probe_every);
    CORELET_ASSERT(config.probe_every + config.ack_within < config.suspect_after);
    CORELET_ASSERT(config.suspect_after < config.confirm_after);
}

MembershipEffects Membership::step(const MembershipEvent& event, Instant now, Prng& rng) {
    MembershipEffects out;
    if (!started_) {
        started_ = true;
        next_tick_ = answered_ = now;
    }
    watch_own_clockwork(now);
    std::visit([&](const auto& e) { on(e, now, out); }, event);
    for (Peer* subject : subjects_)
        if (now >= subject->probe_due) probe(*subject, now, rng, out);
    tell_late_askers(now, out);
    judge_all(now, out);
    tell_news(now, rng, out);
    add_news(out);
    flush_memories(now, out);
    plan_next_tick(now);
    last_step_ = now;
    return out;
}

// Who was paused reached nobody, and that says nothing about them: the pause is taken out of all silences.
void Membership::watch_own_clockwork(Instant now) {
    Duration const late = now - next_tick_;
    if (late < k_late) return;
    local_health_.failed();
    if (late < k_paused) return;
    answered_ = answered_ + late;
    for (auto& [id, peer] : peers_) {
        peer.reached = peer.reached + late;
        peer.alive = peer.alive + late;
        peer.votes.clear();
    }
}

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
    map_news_.map_changed(event.epoch, event.steps);
    fetch_asked_at_.reset();
    std::map<CoreletId, Peer> next;
    for (const PeerEntry& entry : event.peers) {
        if (entry.id == self_) continue;
        Peer peer;
        peer.reached = peer.alive = now;  // a newcomer gets its time
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
    std::erase_if(asked_of_, [&](CoreletId id) { return !peers_.contains(id); });
    draw_ring(now);
}

// Each subject's probes and votes go on if it stays one.
void Membership::draw_ring(Instant now) {
    std::vector<ObserverRing::Member> members{{self_, true}};
    reachable_.clear();
    for (const auto& [id, peer] : peers_) {
        if (peer.entry.is_out) continue;
        members.push_back({id, !peer.entry.is_down});
        if (!peer.entry.is_down) reachable_.push_back(id);
    }
    ObserverRing const ring(std::move(members), config_.observers);
    subjects_.clear();
    for (CoreletId id : ring.subjects_of(self_)) subjects_.push_back(&peers_.at(id));
    for (auto& [id, peer] : peers_) {
        bool const is_subject = std::find(subjects_.begin(), subjects_.end(), &peer) != subjects_.end();
        if (is_subject && !peer.is_subject) {
            peer.reached = peer.alive = std::max(peer.alive, now);
            peer.probe_due = now;
            // Its time is no answer: what it answered when it was a subject before does not let it rise now.
            if (peer.entry.is_down) peer.ever_reached = false;
        }
        peer.is_subject = is_subject;
        peer.observers.clear();
        if (!is_subject) {
            peer.votes.clear();
            peer.health = PeerHealth::kReached;
            continue;
        }
        for (CoreletId observer : ring.observers_of(id))
            if (observer != self_) peer.observers.push_back(observer);
        std::erase_if(peer.votes, [&](const Vote& vote) {
            return std::find(peer.observers.begin(), peer.observers.end(), vote.observer) == peer.observers.end();
        });
    }
}

void Membership::on(const GossipReceived& event, Instant now, MembershipEffects& out) {
    const GossipMessage& message = event.message;
    if (message.mesh != mesh_) return;
    if (message.from == self_) {
        if (message.self.other_body_of(own_)) out.push_back(TwoBodies{self_, own_.nonce, message.self.nonce});
        return;
    }
    if (message.map_epoch > map_news_.epoch()) hear_of_map(message, now, out);
    auto const found = peers_.find(message.from);
    if (found == peers_.end()) return;
    Peer& peer = found->second;
    bool const accepted = accept_life(peer, message, out);
    // A life that is over learns from the answer which map, and which life of its own, is known here.
    if (message.wants_ack) answer(peer, message.number, now, out);
    if (!accepted) return;
    peer.suspected_until = {};  // whoever said so, it is here
    if (peer.awaited != 0 && message.acks >= peer.awaited) acknowledged(peer, now, out);
    hear_observations(peer, message, now, out);
    for (CoreletId subject : message.probe) asked_to_probe(peer, subject, now, out);
}

void Membership::flush_memories(Instant now, MembershipEffects& out) {
    if (unsaved_.empty() || (saved_at_ && now - *saved_at_ < config_.remember_every)) return;
    saved_at_ = now;
    out.push_back(RememberPeers{{unsaved_.begin(), unsaved_.end()}});
    unsaved_.clear();
}

void Membership::plan_next_tick(Instant now) {
    Instant next = now + k_idle_tick;
    auto const consider = [&](Instant due) {
        if (due > now) next = std::min(next, due);
    };
    for (const Peer* subject : subjects_) {
        consider(subject->probe_due);
        if (subject->entry.is_down) continue;
        consider(subject->reached + patient(config_.suspect_after));
        consider(subject->alive + patient(config_.suspect_after));
        consider(subject->alive + patient(config_.confirm_after));
    }
    for (CoreletId id : asked_of_) consider(peers_.at(id).askers_due);
    if (!unsaved_.empty()) consider(*saved_at_ + config_.remember_every);
    if (auto const due = map_news_.round_due()) consider(*due);
    next_tick_ = next;
}

std::vector<PeerView> Membership::view(Instant now) const {
    std::vector<PeerView> out;
    for (const auto& [id, peer] : peers_) {
        PeerView view{id, health(id), {}, {}, memory(id).value_or(PeerMemory{})};
        if (peer.ever_reached) view.silence = std::max(now - peer.reached, Duration{});
        view.via = via(id);
        out.push_back(view);
    }
    return out;
}

PeerHealth Membership::health(CoreletId id) const {
    auto const found = peers_.find(id);
    if (found == peers_.end()) return PeerHealth::kDown;
    const Peer& peer = found->second;
    if (peer.is_subject) return peer.health;
    if (peer.entry.is_down) return PeerHealth::kDown;
    return peer.suspected_until > last_step_ ? PeerHealth::kSuspected : PeerHealth::kReached;
}

CoreletId Membership::via(CoreletId id) const {
    auto const found = peers_.find(id);
    bool const indirect = found != peers_.end() && health(id) == PeerHealth::kIndirect;
    return indirect ? found->second.via : CoreletId{};
}

std::optional<PeerMemory> Membership::memory(CoreletId peer) const {
    auto const found = memories_.find(peer);
    if (found == memories_.end()) return std::nullopt;
    return found->second;
}

}  // namespace corelet::mesh
