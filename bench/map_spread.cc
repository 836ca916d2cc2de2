#include "map_spread.h"

#include <algorithm>

namespace corelet::mesh {
namespace {

constexpr Duration k_fetch_after = 100_ms;  // MapService waits so long for the catalog's own word

CoreletId id_of(u32 node) {
    return CoreletId(node + 1);
}

}  // namespace

MapSpread::MapSpread(unsigned corelets, Duration delay_max, u64 seed)
    : nodes_(corelets), delay_max_(delay_max), rng_(seed) {
    std::vector<ObserverRing::Member> members;
    for (u32 i = 0; i < corelets; ++i) members.push_back({id_of(i), true});
    ObserverRing const ring(std::move(members), MembershipConfig{}.observers);
    for (u32 i = 0; i < corelets; ++i) {
        nodes_[i].news.map_changed(MapEpoch(1), {});
        for (CoreletId subject : ring.subjects_of(id_of(i))) {
            auto const other = static_cast<u32>(subject.v - 1);
            nodes_[i].subjects.push_back(other);
            plan(Event::Kind::kProbe, Duration{static_cast<i64>(rng_.below(1'000'000'000))}, i, other);
        }
    }
}

void MapSpread::plan(Event::Kind kind, Duration in, u32 who, u32 other, GossipMessage message) {
    events_.push({now_ + in, order_++, kind, who, other, std::move(message)});
}

Duration MapSpread::delay() {
    return Duration{static_cast<i64>(rng_.below(static_cast<u64>(delay_max_.ns)))};
}

void MapSpread::change(usize delta_bytes) {
    delta_bytes_ = delta_bytes;
    learn(0);
}

void MapSpread::run(Duration length) {
    Instant const end = now_ + length;
    while (!events_.empty() && events_.top().at < end) {
        Event const event = events_.top();
        events_.pop();
        now_ = event.at;
        happen(event);
    }
    now_ = end;
}

void MapSpread::happen(const Event& event) {
    switch (event.kind) {
        case Event::Kind::kProbe:
            send(event.who, event.other, true);
            plan(Event::Kind::kProbe, MembershipConfig{}.probe_every, event.who, event.other);
            return;
        case Event::Kind::kMessage:
            return hear(event.who, event);
        case Event::Kind::kRound:
            return begin_round(event.who);
        case Event::Kind::kFetched:
            nodes_[event.who].is_fetching = false;
            if (nodes_[event.who].epoch >= nodes_[event.other].epoch) return;
            ++fetches;
            fetched_bytes += delta_bytes_;
            return learn(event.who);
    }
}

void MapSpread::learn(u32 who) {
    Node& node = nodes_[who];
    if (node.epoch == MapEpoch(2)) return;
    node.epoch = MapEpoch(2);
    learned.push_back(now_);
    std::vector<MapStep> steps;
    if (delta_bytes_ <= MapNews::k_delta_bytes_max)
        steps.push_back({MapEpoch(1), MapEpoch(2), std::vector<u8>(delta_bytes_)});
    node.news.map_changed(node.epoch, std::move(steps));
    plan(Event::Kind::kRound, Duration{}, who);
}

// As Membership does: drawn by lot, but for those that are known to have it.
void MapSpread::begin_round(u32 who) {
    Node& node = nodes_[who];
    node.news.round_begun(now_);
    usize const wanted = MembershipConfig{}.told_at_once;
    std::set<u32> told;
    for (usize draw = 0; draw < 2 * wanted && told.size() < wanted; ++draw) {
        auto const other = static_cast<u32>(rng_.below(nodes_.size()));
        auto const shown = node.heard.find(other);
        bool const has_it = shown != node.heard.end() && shown->second >= node.epoch;
        if (other != who && !has_it && told.insert(other).second) send(who, other, false);
    }
}

// With as much about others as a message at rest has: the word on its receiver, and two memories.
void MapSpread::send(u32 from, u32 to, bool wants_ack) {
    Node& node = nodes_[from];
    PeerMemory const life{Incarnation(3), ~u64{from}, 1'000'000, 900'000};
    GossipMessage message{MeshId(~u64{1}), id_of(from), life, node.epoch, ++order_, wants_ack, 0, {}, {}, {}};
    for (u32 i = 0; i < 3; ++i) message.observations.push_back({id_of(to + i), life, k_not_probed, {}, 0});
    auto const shown = node.heard.find(to);
    node.news.add_to(message, shown == node.heard.end() ? MapEpoch{} : shown->second);
    ++messages;
    message_bytes += gossip_bytes(message);
    plan(Event::Kind::kMessage, delay(), to, from, std::move(message));
}

void MapSpread::hear(u32 who, const Event& event) {
    Node& node = nodes_[who];
    MapEpoch& shown = node.heard[event.other];
    shown = std::max(shown, event.message.map_epoch);
    if (event.message.map_epoch > node.epoch) {
        if (!event.message.map_deltas.empty()) {
            learn(who);
        } else if (!std::exchange(node.is_fetching, true)) {
            plan(Event::Kind::kFetched, k_fetch_after + delay() + delay(), who, event.other);
        }
    }
    if (event.message.wants_ack) send(who, event.other, false);
}

}  // namespace corelet::mesh
