// Membership: how a new epoch of the map goes round.
#include <algorithm>

#include "mesh/membership.h"

namespace corelet::mesh {

void Membership::hear_of_map(const GossipMessage& message, Instant now, MembershipEffects& out) {
    if (!message.map_deltas.empty()) {
        out.push_back(MapNewsHeard{message.from, message.map_epoch, message.map_deltas});
        return;
    }
    if (fetch_asked_at_ && now - *fetch_asked_at_ < config_.fetch_every) return;
    fetch_asked_at_ = now;
    out.push_back(NewerMapSeen{message.from, message.map_epoch});
}

// To a few drawn by lot, but for those that are known to have it.
void Membership::tell_news(Instant now, Prng& rng, MembershipEffects& out) {
    auto const due = map_news_.round_due();
    if (!due || now < *due) return;
    map_news_.round_begun(now);
    std::vector<CoreletId> told;
    for (usize draw = 0; draw < 2 * config_.told_at_once && told.size() < config_.told_at_once; ++draw) {
        if (reachable_.empty()) return;
        CoreletId const id = reachable_[rng.below(reachable_.size())];
        const Peer& peer = peers_.at(id);
        if (peer.map_epoch >= map_news_.epoch() || std::ranges::find(told, id) != told.end()) continue;
        told.push_back(id);
        out.push_back(SendGossip{id, make_message(peer, now)});
    }
}

// Last, when all else has its place in the messages.
void Membership::add_news(MembershipEffects& out) const {
    for (MembershipEffect& effect : out) {
        auto* const send = std::get_if<SendGossip>(&effect);
        if (send == nullptr) continue;
        auto const peer = peers_.find(send->to);
        if (peer != peers_.end()) map_news_.add_to(send->message, peer->second.map_epoch);
    }
}

}  // namespace corelet::mesh
