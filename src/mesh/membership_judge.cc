// Membership: verdicts.
#include <algorithm>

#include "mesh/membership.h"

namespace corelet::mesh {

Incarnation Membership::incarnation_of(const Peer& peer) const {
    auto const known = memories_.find(peer.entry.id);
    return known == memories_.end() ? peer.entry.incarnation
                                    : std::max(peer.entry.incarnation, known->second.incarnation);
}

void Membership::judge_all(Instant now, MembershipEffects& out) {
    bool const expects =
        std::any_of(subjects_.begin(), subjects_.end(), [](const Peer* p) { return !p->entry.is_down; });
    bool const isolated = expects && now - answered_ >= patient(config_.suspect_after);
    if (isolated != isolated_) {
        isolated_ = isolated;
        out.push_back(IsolationChanged{isolated});
    }
    for (Peer* subject : subjects_) judge(*subject, now, out);
}

void Membership::judge(Peer& peer, Instant now, MembershipEffects& out) {
    if (now - peer.reached < patient(config_.suspect_after)) return is_reached(peer, now, out);
    Duration const silence = now - peer.alive;
    if (silence < patient(config_.suspect_after)) {
        // That others were answered before this corelet's question says nothing about the way between the two.
        if (peer.health == PeerHealth::kDown || peer.awaited == 0 || peer.alive <= peer.awaited_since) return;
        bool const first = peer.health != PeerHealth::kIndirect;
        peer.health = PeerHealth::kIndirect;
        if (first) out.push_back(PeerIndirect{peer.entry.id, peer.via});
        return;
    }
    if (peer.entry.is_down) {
        peer.health = PeerHealth::kDown;  // everybody knows
        return;
    }
    if (peer.health != PeerHealth::kDown) suspect(peer, now, out);
    if (silence < patient(config_.confirm_after) || isolated_ || !others_agree(peer, now)) return;
    bool const told = peer.verdict_at && now - *peer.verdict_at < config_.repeat_every;
    bool const first = peer.health != PeerHealth::kDown;
    peer.health = PeerHealth::kDown;
    if (told && !first) return;
    peer.verdict_at = now;
    out.push_back(PeerConfirmedDown{peer.entry.id, incarnation_of(peer)});
}

// By this corelet itself: hearsay lets nobody rise again.
void Membership::is_reached(Peer& peer, Instant now, MembershipEffects& out) {
    bool const was_down = peer.health == PeerHealth::kDown || peer.entry.is_down;
    if (!was_down) {
        peer.health = PeerHealth::kReached;
        peer.suspicion_at.reset();
        return;
    }
    bool const told = peer.verdict_at && now - *peer.verdict_at < config_.repeat_every;
    if (!peer.ever_reached || (peer.health == PeerHealth::kReached && told)) return;
    peer.health = PeerHealth::kReached;
    peer.verdict_at = now;
    peer.suspicion_at.reset();
    out.push_back(PeerRecovered{peer.entry.id, incarnation_of(peer)});
}

void Membership::suspect(Peer& peer, Instant now, MembershipEffects& out) {
    if (peer.health != PeerHealth::kSuspected) out.push_back(PeerSuspected{peer.entry.id});
    peer.health = PeerHealth::kSuspected;
    if (peer.suspicion_at && now - *peer.suspicion_at < config_.repeat_every) return;
    peer.suspicion_at = now;
    Observation word = own_word(peer, now);
    word.memory = {};
    word.observer = self_;
    (void)rumours_.hear(word, now, now, peers_.size() + 1);
}

// More than half of the observers that say anything, this one among them, and at least one other.
bool Membership::others_agree(const Peer& peer, Instant now) const {
    usize said = 1, missing = 1;
    for (const Vote& vote : peer.votes) {
        if (now - vote.at > patient(config_.suspect_after)) continue;
        ++said;
        missing += vote.silence + (now - vote.at) >= config_.suspect_after;
    }
    return said > 1 && missing * 2 > said;
}

}  // namespace corelet::mesh
