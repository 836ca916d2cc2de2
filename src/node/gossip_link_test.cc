#include "node/gossip_link.h"

#include <gtest/gtest.h>

#include "sim/world.h"

namespace corelet {
namespace {

constexpr MeshId k_mesh{7};

mesh::GossipMessage message(u64 number, bool wants_ack = true) {
    return {k_mesh, CoreletId(1), {Incarnation(1), 11, 5}, MapEpoch(3), number, wants_ack, 0, {}, {}};
}

TEST(GossipSeal, OpensWhatItSealedAndNothingElse) {
    GossipSeal const seal(k_mesh, "secret");
    auto const datagram = seal.seal(message(9));
    EXPECT_EQ(seal.open(datagram).value(), message(9));
    EXPECT_LE(datagram.size() - mesh::encode_gossip(message(9)).size(), 20u);
    for (usize bit = 0; bit < datagram.size() * 8; ++bit) {
        auto damaged = datagram;
        damaged[bit / 8] ^= static_cast<u8>(1U << (bit % 8));
        EXPECT_EQ(seal.open(damaged).error().code, Code::kDenied) << bit;
    }
    for (usize size = 0; size < datagram.size(); ++size)
        EXPECT_EQ(seal.open(Bytes(datagram).first(size)).error().code, Code::kDenied) << size;
}

TEST(GossipSeal, AnotherMeshOrSecretIsNobody) {
    auto const datagram = GossipSeal(k_mesh, "secret").seal(message(9));
    EXPECT_EQ(GossipSeal(MeshId(8), "secret").open(datagram).error().code, Code::kDenied);
    EXPECT_EQ(GossipSeal(k_mesh, "").open(datagram).error().code, Code::kDenied);
}

Task<void> idle(Env*) {
    Event never;
    co_await never.wait();
}

struct Rig {
    sim::World world{1};
    sim::Node* a = &world.add_node("a");
    sim::Node* b = &world.add_node("b");
    std::vector<u64> heard;
    std::vector<std::string> moved;
    std::unique_ptr<GossipLink> from, to;

    explicit Rig(std::string_view other_secret = "secret") {
        a->start([](Env& env) { return idle(&env); });
        b->start([](Env& env) { return idle(&env); });
        from = std::make_unique<GossipLink>(
            a->env(), k_mesh, "secret", [](auto) {},
            [this](CoreletId peer, const Address& listening) {
                moved.push_back(to_string(peer) + " " + listening.to_string());
            });
        to = std::make_unique<GossipLink>(b->env(), k_mesh, other_secret,
                                          [this](const mesh::GossipMessage& got) { heard.push_back(got.number); });
        EXPECT_TRUE(from->bind(Address::tcp("a", 9)));
        EXPECT_TRUE(to->bind(Address::tcp("b", 9)));
    }
    void send(u64 number, bool wants_ack = true) {
        from->send(CoreletId(2), message(number, wants_ack));
        world.run_for(100_ms);
    }
};

// One of the own addresses is lost: what is sent from there is heard by nobody.
TEST(GossipLink, WithoutAnAnswerTheNextOwnAddressIsTried) {
    Rig rig;
    ASSERT_TRUE(rig.from->bind(Address::tcp("a", 10)));
    rig.from->set_addresses(CoreletId(2), {Address::tcp("b", 9)});
    rig.world.fabric().lose_port(0, 9);
    rig.send(1);
    EXPECT_TRUE(rig.heard.empty());
    rig.send(2);
    EXPECT_EQ(rig.heard, std::vector<u64>{2});
    // It answers: from now on that is the one.
    mesh::GossipMessage heard = message(7, false);
    heard.from = CoreletId(2);
    rig.to->set_addresses(CoreletId(1), {Address::tcp("a", 10)});
    rig.to->send(CoreletId(1), heard);
    rig.world.run_for(100_ms);
    for (u64 number : {3, 4}) rig.send(number, false);
    EXPECT_EQ(rig.heard, (std::vector<u64>{2, 3, 4}));
}

// Of two addresses on each side one is lost: some pair is left, and it is found.
TEST(GossipLink, EachOwnAddressMeetsEachOfThePeers) {
    for (auto const& [own, other] : {std::pair{9, 9}, {9, 10}, {10, 9}, {10, 10}}) {
        Rig rig;
        ASSERT_TRUE(rig.from->bind(Address::tcp("a", 10)));
        ASSERT_TRUE(rig.to->bind(Address::tcp("b", 10)));
        rig.from->set_addresses(CoreletId(2), {Address::tcp("b", 9), Address::tcp("b", 10)});
        rig.world.fabric().lose_port(0, static_cast<u16>(own));
        rig.world.fabric().lose_port(1, static_cast<u16>(other));
        for (u64 number = 1; number <= 4; ++number) rig.send(number);
        EXPECT_FALSE(rig.heard.empty()) << own << " and " << other << " are lost";
    }
}

TEST(GossipLink, ForgedDatagramsAreCountedAndDropped) {
    Rig rig("another secret");
    rig.from->set_addresses(CoreletId(2), {Address::tcp("b", 9)});
    rig.send(1);
    EXPECT_TRUE(rig.heard.empty());
    EXPECT_EQ(rig.to->refused(), 1u);
}

TEST(GossipLink, WithoutAnAnswerTheNextAddressIsTried) {
    Rig rig;
    rig.from->set_addresses(CoreletId(2),
                            {Address::tcp("a", 77), Address::unix_path("/nowhere"), Address::tcp("b", 9)});
    rig.send(1);
    rig.send(2, false);
    rig.send(3);
    rig.send(4);
    EXPECT_EQ(rig.heard, (std::vector<u64>{4})) << "only pings ask whether an address still is one";
    rig.to->set_addresses(CoreletId(1), {Address::tcp("a", 9)});
    for (u64 number = 5; number < 9; ++number) {
        rig.to->send(CoreletId(1), {k_mesh, CoreletId(2), {}, {}, number, false, number - 1, {}, {}});
        rig.world.run_for(100_ms);
        rig.send(number);
    }
    EXPECT_EQ(rig.heard, (std::vector<u64>{4, 5, 6, 7, 8})) << "where it was answered it stays";
    EXPECT_EQ(rig.moved, std::vector<std::string>{to_string(CoreletId(2)) + " tcp:b:9"}) << "and says so once";
    rig.from->set_addresses(CoreletId(2), {Address::tcp("b", 9)});
    rig.send(9);
    EXPECT_EQ(rig.heard.back(), 9u);
    rig.from->forget_others({});
    rig.send(10);
    EXPECT_EQ(rig.heard.back(), 9u);
}

TEST(GossipLink, ThatAPeerSpeaksDoesNotShowThatItHears) {
    Rig rig;
    rig.from->set_addresses(CoreletId(2), {Address::tcp("a", 77), Address::tcp("b", 9)});
    rig.to->set_addresses(CoreletId(1), {Address::tcp("a", 9)});
    rig.send(1);
    rig.to->send(CoreletId(1), {k_mesh, CoreletId(2), {}, {}, 5, true, 0, {}, {}});
    rig.world.run_for(100_ms);
    rig.send(2);
    EXPECT_EQ(rig.heard, std::vector<u64>{2}) << "the first address has not answered";
}

TEST(GossipLink, ArrivesBesideTheSocketWherePeersConnect) {
    EXPECT_EQ(gossip_address(Address::tcp("h", 7)), Address::tcp("h", 7));
    EXPECT_EQ(gossip_address(Address::unix_path("/d/corelet.sock")), Address::unix_path("/d/corelet.sock.gossip"));
}

}  // namespace
}  // namespace corelet
