#include "mesh/membership.h"

#include <gtest/gtest.h>

#include <queue>
#include <set>

namespace corelet::mesh {
namespace {

constexpr MeshId k_mesh{0xC0DE};

// N cores under virtual time, with a network that loses, delays, doubles and cuts.
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
    std::vector<Verdict> suspected, confirmed, recovered;
    std::vector<Verdict> newer_maps, two_bodies, forgotten, stale, isolation;
    u64 loss_percent = 0;
    Duration delay_max = 2_ms;
    std::function<bool(unsigned from, unsigned to)> cut = [](unsigned, unsigned) { return false; };
    std::set<CoreletId> down_in_map, out_of_map;

    [[nodiscard]] Instant now() const { return now_; }
    [[nodiscard]] static CoreletId id(unsigned i) { return CoreletId(i + 1); }
    [[nodiscard]] Membership& core(unsigned i) { return nodes_[i].core; }

    void kill(unsigned i) { nodes_[i].alive = false; }
    void pause(unsigned i, Duration length) { nodes_[i].paused_until = now_ + length; }
    void restart(unsigned i) {
        ++nodes_[i].incarnation;
        nodes_[i] = make_node(i, nodes_[i].incarnation);
        show_map(i);
    }
    void show_map(unsigned i) {
        std::vector<PeerEntry> peers;
        for (unsigned p = 0; p < nodes_.size(); ++p) {
            peers.push_back({id(p), Incarnation(1), down_in_map.contains(id(p)), out_of_map.contains(id(p))});
        }
        feed(i, MapChanged{MapEpoch(1), peers});
    }
    void feed(unsigned i, const MembershipEvent& event) {
        if (nodes_[i].alive) carry_out(i, nodes_[i].core.step(event, now_, nodes_[i].rng));
    }

    void run(Duration length) {
        Instant const end = now_ + length;
        while (true) {
            Instant next = end;
            for (Node& node : nodes_) {
                if (node.alive) next = std::min(next, std::max(node.core.next_tick(), node.paused_until));
            }
            if (!in_flight_.empty()) next = std::min(next, in_flight_.top().at);
            if (next >= end) break;
            now_ = std::max(now_, next);
            deliver_due();
            for (unsigned i = 0; i < nodes_.size(); ++i) {
                bool const due = nodes_[i].core.next_tick() <= now_ && nodes_[i].paused_until <= now_;
                if (nodes_[i].alive && due) feed(i, Tick{});
            }
        }
        now_ = end;
    }

    [[nodiscard]] u64 heartbeats_sent() const { return sent_; }

  private:
    struct Node {
        Membership core;
        Prng rng;
        u64 incarnation = 1;
        bool alive = true;
        Instant paused_until;
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
        return {
            Membership({}, k_mesh, id(i), own), rng_.fork("node", i * 100 + incarnation), incarnation, true, {}};
    }
    void carry_out(unsigned i, const MembershipEffects& effects) {
        for (const MembershipEffect& effect : effects) {
            if (auto const* send = std::get_if<SendHeartbeat>(&effect)) {
                for (CoreletId to : send->to) transmit(i, static_cast<unsigned>(to.v - 1), send->heartbeat);
            }
            if (auto const* e = std::get_if<PeerSuspected>(&effect)) suspected.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<PeerConfirmedDown>(&effect)) confirmed.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<PeerRecovered>(&effect)) recovered.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<NewerMapSeen>(&effect)) newer_maps.push_back({now_, i, e->peer});
            if (auto const* e = std::get_if<TwoBodies>(&effect)) two_bodies.push_back({now_, i, e->id});
            if (auto const* e = std::get_if<OwnLifeForgotten>(&effect)) forgotten.push_back({now_, i, e->witness});
            if (auto const* e = std::get_if<StaleLifeSeen>(&effect)) stale.push_back({now_, i, e->peer});
            if (std::get_if<IsolationChanged>(&effect)) isolation.push_back({now_, i, id(i)});
        }
    }
    void transmit(unsigned from, unsigned to, const Heartbeat& heartbeat) {
        ++sent_;
        auto const bytes = encode_heartbeat(heartbeat);
        EXPECT_LE(bytes.size(), 1400u);
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
            feed(message.to, HeartbeatReceived{decode_heartbeat(message.bytes).value()});
        }
    }

    Prng rng_;
    std::vector<Node> nodes_;
    std::priority_queue<Message> in_flight_;
    Instant now_{1'000'000'000};
    u64 order_ = 0, sent_ = 0;
};

std::set<std::pair<unsigned, u64>> pairs(const std::vector<Meshes::Verdict>& verdicts) {
    std::set<std::pair<unsigned, u64>> out;
    for (const auto& v : verdicts) out.insert({v.by, v.peer.v});
    return out;
}

class KillDetection : public testing::TestWithParam<unsigned> {};

TEST_P(KillDetection, SurvivorsConfirmWithinFiveSeconds) {
    for (u64 seed = 1; seed <= 10; ++seed) {
        Meshes mesh(GetParam(), seed);
        mesh.run(Duration{3'000'000'000 + static_cast<i64>(seed) * 37'000'000});
        EXPECT_TRUE(mesh.suspected.empty());
        Instant const death = mesh.now();
        mesh.kill(1);
        mesh.run(5_s);
        EXPECT_EQ(pairs(mesh.confirmed).size(), GetParam() - 1);
        EXPECT_EQ(pairs(mesh.suspected).size(), GetParam() - 1);
        for (const auto& v : mesh.confirmed) {
            EXPECT_EQ(v.peer, Meshes::id(1));
            EXPECT_GE(v.at - death, 3500_ms);
        }
        for (const auto& v : mesh.suspected) EXPECT_LE(v.at - death, 2600_ms);
    }
}
INSTANTIATE_TEST_SUITE_P(Sizes, KillDetection, testing::Values(3, 4, 8, 20, 50));

TEST(Membership, VerdictsAreRepeatedUntilTheMapShowsThem) {
    Meshes mesh(4);
    mesh.run(2_s);
    mesh.kill(3);
    mesh.run(10_s);
    usize const told = mesh.confirmed.size();
    EXPECT_GE(told, 6u);
    mesh.down_in_map.insert(Meshes::id(3));
    for (unsigned i = 0; i < 3; ++i) mesh.show_map(i);
    mesh.run(10_s);
    EXPECT_EQ(mesh.confirmed.size(), told);
    EXPECT_TRUE(mesh.recovered.empty());
    mesh.restart(3);
    mesh.run(2_s);
    EXPECT_EQ(pairs(mesh.recovered).size(), 3u);
}

TEST(Membership, WhoJustStartedDoesNotTakeTheDeadForRecovered) {
    Meshes mesh(4);
    mesh.run(2_s);
    mesh.kill(3);
    mesh.run(6_s);
    mesh.down_in_map.insert(Meshes::id(3));
    for (unsigned i = 0; i < 3; ++i) mesh.show_map(i);
    mesh.restart(0);
    mesh.run(10_s);
    for (const auto& v : mesh.recovered) EXPECT_NE(v.peer, Meshes::id(3));
}

TEST(Membership, ModerateLossConfirmsNobody) {
    for (unsigned n : {3u, 5u, 9u}) {
        Meshes mesh(n, n);
        mesh.loss_percent = 20;
        mesh.delay_max = 100_ms;
        mesh.run(20_min);
        EXPECT_TRUE(mesh.confirmed.empty()) << n << ": " << mesh.confirmed.size();
    }
}

TEST(Membership, UnderLossTheDeadAreStillFound) {
    for (u64 seed = 1; seed <= 10; ++seed) {
        Meshes mesh(6, seed);
        mesh.loss_percent = 25;
        mesh.run(20_s);
        mesh.kill(2);
        mesh.run(9_s);
        EXPECT_EQ(pairs(mesh.confirmed).size(), 5u) << seed;
    }
}

TEST(Membership, MajorityConfirmsTheMinorityAndTakesItBack) {
    Meshes mesh(8);
    mesh.run(3_s);
    mesh.cut = [](unsigned a, unsigned b) { return (a < 3) != (b < 3); };
    mesh.run(5500_ms);
    for (const auto& v : mesh.confirmed) EXPECT_GE(v.by, 3u) << "the smaller part is slower to accuse the larger";
    EXPECT_EQ(pairs(mesh.confirmed).size(), 15u);
    mesh.cut = [](unsigned, unsigned) { return false; };
    mesh.run(4_s);
    for (unsigned i = 3; i < 8; ++i) {
        for (unsigned p = 0; p < 3; ++p) EXPECT_EQ(mesh.core(i).health(Meshes::id(p)), PeerHealth::kHeard);
    }
    EXPECT_EQ(pairs(mesh.recovered).size(), 15u);
}

TEST(Membership, WhoHearsNobodyBlamesItself) {
    Meshes mesh(5);
    mesh.run(3_s);
    mesh.cut = [](unsigned a, unsigned b) { return (a == 0) != (b == 0); };
    mesh.run(30_s);
    EXPECT_TRUE(mesh.core(0).isolated());
    for (const auto& v : mesh.confirmed) {
        EXPECT_NE(v.by, 0u);
        EXPECT_EQ(v.peer, Meshes::id(0));
    }
    mesh.cut = [](unsigned, unsigned) { return false; };
    mesh.run(2_s);
    EXPECT_FALSE(mesh.core(0).isolated());
}

TEST(Membership, OneWayDeafnessConfirmsNobody) {
    Meshes mesh(5);
    mesh.run(3_s);
    mesh.cut = [](unsigned, unsigned to) { return to == 0; };  // 0 is heard by all and hears none
    mesh.run(60_s);
    EXPECT_TRUE(mesh.confirmed.empty());
    EXPECT_TRUE(mesh.core(0).isolated());
}

TEST(Membership, MuteOneIsConfirmedThoughItHearsAll) {
    Meshes mesh(5);
    mesh.run(3_s);
    mesh.cut = [](unsigned from, unsigned) { return from == 0; };
    mesh.run(5_s);
    EXPECT_EQ(pairs(mesh.confirmed), (std::set<std::pair<unsigned, u64>>{{1, 1}, {2, 1}, {3, 1}, {4, 1}}));
}

TEST(Membership, OneCutLinkConfirmsNobody) {
    Meshes mesh(5);
    mesh.run(3_s);
    mesh.cut = [](unsigned a, unsigned b) { return a + b == 1; };  // between 0 and 1
    mesh.run(60_s);
    EXPECT_TRUE(mesh.confirmed.empty());
    EXPECT_EQ(mesh.core(0).health(Meshes::id(1)), PeerHealth::kSuspected);
}

TEST(Membership, APairNeverAccusesEachOther) {
    Meshes mesh(2);
    mesh.run(2_s);
    mesh.kill(1);
    mesh.run(30_s);
    EXPECT_TRUE(mesh.confirmed.empty()) << "without a third nobody knows whose fault it is";
    EXPECT_TRUE(mesh.core(0).isolated());
}

TEST(Membership, APausedOneAccusesNobodyWhenItWakes) {
    Meshes mesh(5);
    mesh.run(3_s);
    mesh.pause(2, 20_s);
    mesh.run(40_s);
    EXPECT_EQ(pairs(mesh.confirmed), (std::set<std::pair<unsigned, u64>>{{0, 3}, {1, 3}, {3, 3}, {4, 3}}));
    for (const auto& v : mesh.suspected) EXPECT_EQ(v.peer, Meshes::id(2));
    EXPECT_EQ(pairs(mesh.recovered).size(), 4u);
}

TEST(Membership, HalfTheMeshDeadIsFoundMoreSlowly) {
    Meshes mesh(8);
    mesh.run(3_s);
    for (unsigned i = 0; i < 5; ++i) mesh.kill(i);
    mesh.run(6_s);
    EXPECT_TRUE(mesh.confirmed.empty());
    mesh.run(4_s);
    EXPECT_EQ(pairs(mesh.confirmed).size(), 15u);
}

TEST(Membership, ALargeMeshFindsManyDead) {
    Meshes mesh(120);
    mesh.run(3_s);
    for (unsigned i = 0; i < 40; ++i) mesh.kill(i);
    mesh.run(6_s);
    EXPECT_EQ(pairs(mesh.confirmed).size(), 40u * 80);
}

TEST(Membership, HeartbeatsPerSecondAreBounded) {
    Meshes mesh(10);
    mesh.run(10_s);
    EXPECT_LE(mesh.heartbeats_sent(), 10u * 9 * 23);
    EXPECT_GE(mesh.heartbeats_sent(), 10u * 9 * 18);
}

}  // namespace
}  // namespace corelet::mesh
