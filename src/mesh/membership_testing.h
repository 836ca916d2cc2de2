// Membership cores under virtual time, with a network that loses, delays, doubles and cuts.
#pragma once

#include <functional>
#include <queue>
#include <set>
#include <tuple>

#include "mesh/membership.h"

namespace corelet::mesh {

inline constexpr MeshId k_mesh{0xC0DE};

class Meshes {
  public:
    explicit Meshes(unsigned n, u64 seed = 1) : rng_(seed) {
        for (unsigned i = 0; i < n; ++i) nodes_.push_back(make_node(i));
        for (unsigned i = 0; i < n; ++i) show_map(i);
    }

    struct Verdict {
        Instant at;
        unsigned by;
        CoreletId peer;
    };
    std::vector<Verdict> suspected, indirect, confirmed, recovered;
    std::vector<Verdict> newer_maps, two_bodies, forgotten, stale, isolation;
    // What changed in the map, by the epoch it leads to, for who learns of it; sizes count, contents do not.
    std::map<MapEpoch, usize> delta_sizes;
    std::vector<Verdict> learned;  // by whom a new epoch became known, from peer
    u64 fetches = 0;
    bool fetches_maps = false;  // who hears of a newer map, and does not get it with the news
    u64 loss_percent = 0;
    u64 sent = 0, bytes_sent = 0;
    Duration delay_max = 2_ms;
    std::function<bool(unsigned from, unsigned to)> cut = [](unsigned, unsigned) { return false; };
    std::set<CoreletId> down_in_map, out_of_map;

    [[nodiscard]] Instant now() const { return now_; }
    [[nodiscard]] static CoreletId id(unsigned i) { return CoreletId(i + 1); }
    [[nodiscard]] Membership& core(unsigned i) { return nodes_[i].core; }

    void kill(unsigned i) {
        nodes_[i].alive = false;
        plan(i);
    }
    void pause(unsigned i, Duration length) {
        nodes_[i].paused_until = now_ + length;
        plan(i);
    }
    void restart(unsigned i) {
        ++nodes_[i].incarnation;
        Instant const planned = nodes_[i].planned;
        nodes_[i] = make_node(i, nodes_[i].incarnation);
        nodes_[i].planned = planned;
        show_map(i);
    }
    void show_map(unsigned i) {
        std::vector<PeerEntry> peers;
        for (unsigned p = 0; p < nodes_.size(); ++p) {
            peers.push_back({id(p), Incarnation(1), down_in_map.contains(id(p)), out_of_map.contains(id(p))});
        }
        MapChanged event{nodes_[i].map_epoch, peers};
        for (auto const& [epoch, bytes] : delta_sizes) {
            if (epoch > nodes_[i].map_epoch) break;
            if (bytes > MapNews::k_delta_bytes_max)
                event.steps.clear();
            else
                event.steps.push_back({MapEpoch(epoch.v - 1), epoch, delta_to(epoch)});
        }
        feed(i, event);
    }
    // A new epoch, as this one learns it from the catalog.
    void change_map(unsigned i, usize delta_bytes) {
        MapEpoch const epoch = newest_epoch().next();
        delta_sizes[epoch] = delta_bytes;
        nodes_[i].map_epoch = epoch;
        show_map(i);
    }
    [[nodiscard]] MapEpoch newest_epoch() const {
        return delta_sizes.empty() ? MapEpoch(1) : delta_sizes.rbegin()->first;
    }
    [[nodiscard]] MapEpoch map_epoch(unsigned i) const { return nodes_[i].map_epoch; }
    [[nodiscard]] usize count_at(MapEpoch epoch) const {
        return static_cast<usize>(
            std::count_if(nodes_.begin(), nodes_.end(), [&](const Node& node) { return node.map_epoch >= epoch; }));
    }
    void feed(unsigned i, const MembershipEvent& event) {
        if (!nodes_[i].alive) return;
        carry_out(i, nodes_[i].core.step(event, now_, nodes_[i].rng));
        plan(i);
    }

    void run(Duration length) {
        Instant const end = now_ + length;
        while (true) {
            Instant next = end;
            if (!ticks_.empty()) next = std::min(next, ticks_.begin()->first);
            if (!in_flight_.empty()) next = std::min(next, in_flight_.top().at);
            if (!fetching_.empty()) next = std::min(next, fetching_.begin()->first);
            if (next >= end) break;
            now_ = std::max(now_, next);
            finish_fetches();
            deliver_due();
            while (!ticks_.empty() && ticks_.begin()->first <= now_) feed(ticks_.begin()->second, Tick{});
        }
        now_ = end;
    }
    // Its observers that live, as the others see it.
    [[nodiscard]] std::set<unsigned> observers(unsigned subject) const {
        std::vector<ObserverRing::Member> members;
        for (unsigned i = 0; i < nodes_.size(); ++i)
            members.push_back({id(i), !down_in_map.contains(id(i)) && !out_of_map.contains(id(i))});
        std::set<unsigned> out;
        for (CoreletId observer :
             ObserverRing(std::move(members), MembershipConfig{}.observers).observers_of(id(subject)))
            if (unsigned const i = static_cast<unsigned>(observer.v - 1); nodes_[i].alive) out.insert(i);
        return out;
    }

  private:
    struct Node {
        Membership core;
        Prng rng;
        u64 incarnation = 1;
        bool alive = true;
        Instant paused_until;
        Instant planned;  // its tick in ticks_
        MapEpoch map_epoch{1};
    };
    struct Message {
        Instant at;
        u64 order;
        unsigned from, to;
        std::vector<u8> bytes;
        bool operator<(const Message& other) const { return std::tie(other.at, other.order) < std::tie(at, order); }
    };

    Node make_node(unsigned i, u64 incarnation = 1) {
        PeerMemory const own{Incarnation(incarnation), 1000 * incarnation + i, 5};
        return {Membership({}, k_mesh, id(i), own),
                rng_.fork("node", i * 100 + incarnation),
                incarnation,
                true,
                {},
                {},
                MapEpoch(1)};
    }
    void plan(unsigned i) {
        Node& node = nodes_[i];
        ticks_.erase({node.planned, i});
        node.planned = std::max(node.core.next_tick(), node.paused_until);
        if (node.alive) ticks_.insert({node.planned, i});
    }
    void carry_out(unsigned i, const MembershipEffects& effects) {
        for (const MembershipEffect& effect : effects) {
            if (auto const* send = std::get_if<SendGossip>(&effect))
                transmit(i, static_cast<unsigned>(send->to.v - 1), send->message);
            if (auto const* e = std::get_if<PeerSuspected>(&effect)) suspected.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<PeerIndirect>(&effect)) indirect.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<PeerConfirmedDown>(&effect)) confirmed.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<PeerRecovered>(&effect)) recovered.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<NewerMapSeen>(&effect)) {
                newer_maps.push_back({now_, i, e->peer});
                fetch(i, e->peer);
            }
            if (auto const* e = std::get_if<TwoBodies>(&effect)) two_bodies.push_back({now_, i, e->id});
            if (auto const* e = std::get_if<OwnLifeForgotten>(&effect)) forgotten.push_back({now_, i, e->witness});
            if (auto const* e = std::get_if<StaleLifeSeen>(&effect)) stale.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<MapNewsHeard>(&effect)) hear_news(i, *e);
            if (std::get_if<IsolationChanged>(&effect)) isolation.push_back({now_, i, id(i)});
        }
    }
    [[nodiscard]] std::vector<u8> delta_to(MapEpoch epoch) const {
        std::vector<u8> out(delta_sizes.at(epoch));
        out.at(0) = static_cast<u8>(epoch.v);
        return out;
    }
    void learn(unsigned i, MapEpoch epoch, CoreletId from) {
        nodes_[i].map_epoch = epoch;
        learned.push_back({now_, i, from});
        show_map(i);
    }
    void hear_news(unsigned i, const MapNewsHeard& news) {
        for (auto const& delta : news.deltas)
            if (delta.at(0) == nodes_[i].map_epoch.v + 1) learn(i, MapEpoch(delta[0]), news.peer);
        if (nodes_[i].map_epoch < news.epoch) fetch(i, news.peer);
    }
    // As MapService does: a while later, for the catalog's word may be on its way.
    void fetch(unsigned i, CoreletId peer) { fetching_.insert({now_ + 100_ms + delay_max, {i, peer}}); }
    void finish_fetches() {
        while (!fetching_.empty() && fetching_.begin()->first <= now_) {
            auto const [i, peer] = fetching_.begin()->second;
            fetching_.erase(fetching_.begin());
            MapEpoch const theirs = nodes_[peer.v - 1].map_epoch;
            if (theirs <= nodes_[i].map_epoch || !fetches_maps) continue;
            ++fetches;
            learn(i, theirs, peer);
        }
    }
    void transmit(unsigned from, unsigned to, const GossipMessage& message) {
        ++sent;
        auto const bytes = encode_gossip(message);
        bytes_sent += bytes.size();
        for (u64 copies = rng_.chance(1, 50) ? 2 : 1; copies > 0; --copies) {
            if (cut(from, to) || rng_.chance(loss_percent, 100)) continue;
            Duration const delay{static_cast<i64>(rng_.below(static_cast<u64>(delay_max.ns)))};
            in_flight_.push({now_ + delay, order_++, from, to, bytes});
        }
    }
    void deliver_due() {
        while (!in_flight_.empty() && in_flight_.top().at <= now_) {
            Message message = in_flight_.top();
            in_flight_.pop();
            Node& node = nodes_[message.to];
            if (node.paused_until > now_) {  // waits in the socket
                message.at = node.paused_until;
                in_flight_.push(std::move(message));
                continue;
            }
            feed(message.to, GossipReceived{decode_gossip(message.bytes).value()});
        }
    }

    Prng rng_;
    std::vector<Node> nodes_;
    std::set<std::pair<Instant, unsigned>> ticks_;
    std::priority_queue<Message> in_flight_;
    std::multimap<Instant, std::pair<unsigned, CoreletId>> fetching_;
    Instant now_{1'000'000'000};
    u64 order_ = 0;
};

inline std::set<std::pair<unsigned, u64>> pairs(const std::vector<Meshes::Verdict>& verdicts) {
    std::set<std::pair<unsigned, u64>> out;
    for (const auto& v : verdicts) out.insert({v.by, v.peer.v});
    return out;
}

}  // namespace corelet::mesh
