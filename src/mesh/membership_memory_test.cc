// One core by hand: lives and memories, and the small print of gossip.
#include <gtest/gtest.h>

#include <map>

#include "mesh/membership_testing.h"

namespace corelet::mesh {
namespace {

struct One {
    One() { feed(MapChanged{MapEpoch(4), {{CoreletId(2), Incarnation(3)}, {CoreletId(3), Incarnation(1)}}}); }
    MembershipEffects feed(const MembershipEvent& event) { return core.step(event, now, rng); }
    MembershipEffects hear(u64 from, PeerMemory life, std::vector<Observation> observations = {},
                           MapEpoch epoch = MapEpoch(4)) {
        return feed(
            GossipReceived{{k_mesh, CoreletId(from), life, epoch, ++beat, false, 0, {}, std::move(observations)}});
    }
    PeerMemory own{Incarnation(7), 70, 100};
    Membership core{{}, k_mesh, CoreletId(1), own};
    Instant now{5'000'000'000};
    Prng rng{1};
    u64 beat = 0;
};

template <class T>
usize count(const MembershipEffects& effects) {
    return static_cast<usize>(
        std::count_if(effects.begin(), effects.end(), [](const auto& e) { return std::holds_alternative<T>(e); }));
}
template <class T>
const T& first(const MembershipEffects& effects) {
    for (const auto& effect : effects) {
        if (auto const* found = std::get_if<T>(&effect)) return *found;
    }
    ADD_FAILURE() << "no such effect";
    std::abort();
}

TEST(MembershipMemory, OldLivesAreNotHeard) {
    One one;
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(2), 20, 1})), 1u);
    EXPECT_EQ(one.core.memory(CoreletId(2)), std::nullopt);
    one.hear(2, {Incarnation(3), 30, 1});
    EXPECT_EQ(one.core.memory(CoreletId(2)), (PeerMemory{Incarnation(3), 30, 1}));
    one.hear(2, {Incarnation(4), 40, 1});
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(3), 30, 9})), 1u) << "rolled back";
}

TEST(MembershipMemory, ALaterMountOfARolledBackDeviceIsNoNews) {
    One one;
    one.hear(2, {Incarnation(3), 30, 50});
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(4), 40, 49})), 1u);
    EXPECT_EQ(one.core.memory(CoreletId(2)), (PeerMemory{Incarnation(3), 30, 50}))
        << "it is told what was seen of it";
    one.hear(3, {Incarnation(1), 10, 1}, {{CoreletId(2), {Incarnation(4), 40, 49}, k_not_probed}});
    EXPECT_EQ(one.core.memory(CoreletId(2)), (PeerMemory{Incarnation(3), 30, 50})) << "nor do thirds make it true";
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(4), 41, 50})), 0u) << "a restart goes on where it was";
    EXPECT_EQ(one.core.memory(CoreletId(2)), (PeerMemory{Incarnation(4), 41, 50}));
}

// Healing, and the catalog's log, soon fill up again what a device had lost.
TEST(MembershipMemory, WhatARolledBackDeviceHasWrittenSinceDoesNotCount) {
    One one;
    one.hear(2, {Incarnation(3), 30, 50});
    PeerMemory const restored{Incarnation(4), 40, 90, 49};
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, restored)), 1u);
    one.feed(MemoryKnown{CoreletId(2), restored, true});
    one.hear(3, {Incarnation(1), 10, 1}, {{CoreletId(2), restored, k_not_probed}});
    EXPECT_EQ(one.core.memory(CoreletId(2)), (PeerMemory{Incarnation(3), 30, 50}))
        << "it is told what was seen of it";
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(4), 41, 90, 50})), 0u) << "nothing was lost";

    One self;
    self.feed(IncarnationRaised{Incarnation(8), 100});
    self.feed(SequenceAdvanced{200});
    PeerMemory const peer{Incarnation(3), 30, 1};
    EXPECT_EQ(
        count<OwnLifeForgotten>(self.hear(2, peer, {{CoreletId(1), {Incarnation(7), 70, 100}, k_not_probed}})), 0u);
    EXPECT_EQ(
        count<OwnLifeForgotten>(self.hear(2, peer, {{CoreletId(1), {Incarnation(7), 70, 101}, k_not_probed}})), 1u);
}

TEST(MembershipMemory, AnIncarnationRaisedWithoutAMountSpeaksAtOnce) {
    One one;
    one.feed(IncarnationRaised{Incarnation(8)});
    one.now = one.now + 1_s;
    EXPECT_EQ(first<SendGossip>(one.feed(Tick{})).message.self, (PeerMemory{Incarnation(8), 70, 100}));
    EXPECT_EQ(count<OwnLifeForgotten>(
                  one.hear(2, {Incarnation(3), 30, 1}, {{CoreletId(1), {Incarnation(7), 70, 100}, k_not_probed}})),
              0u);
}

TEST(MembershipMemory, TheOutAreHeardOnlyUnderANewIncarnation) {
    One one;
    one.feed(MapChanged{MapEpoch(5), {{CoreletId(2), Incarnation(3), false, true}}});
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(3), 30, 1})), 1u);
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(2, {Incarnation(4), 40, 1})), 0u);
}

TEST(MembershipMemory, TwoBodiesOfOneIdentity) {
    One one;
    one.hear(2, {Incarnation(3), 30, 1});
    auto const effects = one.hear(2, {Incarnation(3), 31, 1});
    ASSERT_EQ(count<TwoBodies>(effects), 1u);
    EXPECT_EQ(first<TwoBodies>(effects).other_nonce, 31u);
    EXPECT_EQ(one.core.memory(CoreletId(2))->nonce, 30u);
    // The catalog recorded the other one: that is it.
    one.feed(MemoryKnown{CoreletId(2), {Incarnation(3), 31, 2}, true});
    EXPECT_EQ(one.core.memory(CoreletId(2))->nonce, 31u);
    EXPECT_EQ(count<TwoBodies>(one.hear(2, {Incarnation(3), 31, 3})), 0u);
    // And of ourselves.
    EXPECT_EQ(count<TwoBodies>(one.hear(1, {Incarnation(7), 71, 1})), 1u);
    EXPECT_EQ(count<TwoBodies>(one.hear(1, one.own)), 0u);
    EXPECT_EQ(count<TwoBodies>(
                  one.hear(3, {Incarnation(1), 1, 1}, {{CoreletId(1), {Incarnation(7), 71, 1}, k_not_probed}})),
              1u);
}

TEST(MembershipMemory, APeerThatSawALaterLifeOfOursTellsThatWeForgot) {
    One one;
    PeerMemory const peer{Incarnation(3), 30, 1};
    EXPECT_EQ(count<OwnLifeForgotten>(one.hear(2, peer, {{CoreletId(1), one.own, k_not_probed}})), 0u);
    EXPECT_EQ(count<OwnLifeForgotten>(one.hear(2, peer, {{CoreletId(1), {Incarnation(6), 60, 100}, k_not_probed}})),
              0u);
    One restored;
    EXPECT_EQ(
        count<OwnLifeForgotten>(restored.hear(2, peer, {{CoreletId(1), {Incarnation(6), 60, 101}, k_not_probed}})),
        1u)
        << "an older mount had got further: the device was rolled back and mounted again";
    One behind;
    EXPECT_EQ(
        count<OwnLifeForgotten>(behind.hear(2, peer, {{CoreletId(1), {Incarnation(7), 70, 101}, k_not_probed}})),
        1u);
    EXPECT_EQ(
        count<OwnLifeForgotten>(behind.hear(2, peer, {{CoreletId(1), {Incarnation(7), 70, 101}, k_not_probed}})),
        0u)
        << "once";
    One older;
    EXPECT_EQ(count<OwnLifeForgotten>(older.hear(2, peer, {{CoreletId(1), {Incarnation(8), 80, 0}, k_not_probed}})),
              1u);
    One advanced;
    advanced.feed(SequenceAdvanced{101});
    EXPECT_EQ(
        count<OwnLifeForgotten>(advanced.hear(2, peer, {{CoreletId(1), {Incarnation(7), 70, 101}, k_not_probed}})),
        0u);
}

TEST(MembershipMemory, IsWrittenAtMostOnceASecondAndNothingIsLost) {
    One one;
    std::map<CoreletId, PeerMemory> saved;
    usize writes = 0;
    for (u64 i = 0; i < 100; ++i) {
        for (const auto& effect : one.hear(2, {Incarnation(3), 30, i + 1})) {
            if (auto const* remember = std::get_if<RememberPeers>(&effect)) {
                ++writes;
                for (const auto& [id, memory] : remember->memories) saved[id] = memory;
            }
        }
        one.now = one.now + 50_ms;
    }
    EXPECT_LE(writes, 6u);
    EXPECT_GE(writes, 5u);
    one.now = one.now + 1_s;
    auto const effects = one.feed(Tick{});
    saved[CoreletId(2)] = first<RememberPeers>(effects).memories.at(0).second;
    EXPECT_EQ(saved.at(CoreletId(2)).durable_sequence, 100u);
}

TEST(MembershipMemory, TravelsThroughThirds) {
    One one;
    one.hear(2, {Incarnation(3), 30, 1},
             {{CoreletId(3), {Incarnation(5), 50, 6}, k_not_probed},
              {CoreletId(99), {Incarnation(1), 1, 1}, k_not_probed}});
    EXPECT_EQ(one.core.memory(CoreletId(3)), (PeerMemory{Incarnation(5), 50, 6}));
    EXPECT_EQ(one.core.memory(CoreletId(99)), std::nullopt) << "not in the map: state is bounded by it";
    EXPECT_EQ(count<StaleLifeSeen>(one.hear(3, {Incarnation(4), 40, 1})), 1u);
}

TEST(MembershipGossip, NewerMapsAreFetchedOnceInAWhile) {
    One one;
    EXPECT_EQ(count<NewerMapSeen>(one.hear(2, {Incarnation(3), 30, 1}, {}, MapEpoch(4))), 0u);
    EXPECT_EQ(count<NewerMapSeen>(one.hear(2, {Incarnation(3), 30, 1}, {}, MapEpoch(5))), 1u);
    EXPECT_EQ(count<NewerMapSeen>(one.hear(3, {Incarnation(1), 10, 1}, {}, MapEpoch(5))), 0u);
    one.now = one.now + 600_ms;
    EXPECT_EQ(count<NewerMapSeen>(one.hear(9, {Incarnation(1), 10, 1}, {}, MapEpoch(6))), 1u)
        << "even from a stranger";
}

TEST(MembershipGossip, DoubledAndOvertakenMessagesProveNothing) {
    One one;
    PeerMemory const life{Incarnation(3), 30, 1};
    GossipMessage message{k_mesh, CoreletId(2), life, MapEpoch(4), 9, false, 0, {}, {}};
    one.feed(GossipReceived{message});
    one.now = one.now + 200_ms;
    u64 const pinged = first<SendGossip>(one.feed(Tick{})).message.number;
    message.acks = pinged;
    one.feed(GossipReceived{message});
    EXPECT_EQ(one.core.view(one.now)[0].silence, std::nullopt) << "it has that number already";
    message.number = 10;
    message.mesh = MeshId(1);
    one.feed(GossipReceived{message});
    EXPECT_EQ(one.core.view(one.now)[0].silence, std::nullopt) << "another mesh";
    message.mesh = k_mesh;
    one.feed(GossipReceived{message});
    EXPECT_EQ(one.core.view(one.now)[0].silence, 0_s);
}

TEST(MembershipGossip, WhoIsMissedAnswersAtOnce) {
    One one;
    one.now = one.now + 100_ms;
    auto const effects = one.hear(2, {Incarnation(3), 30, 1}, {{CoreletId(1), one.own, 2500}});
    ASSERT_EQ(count<SendGossip>(effects), 1u);
    EXPECT_EQ(first<SendGossip>(effects).to, CoreletId(2));
    EXPECT_EQ(count<SendGossip>(one.hear(2, {Incarnation(3), 30, 1}, {{CoreletId(1), one.own, 2500}})), 0u);
}

TEST(MembershipGossip, StateIsBoundedByTheMap) {
    One one;
    for (u64 i = 0; i < 1000; ++i) {
        std::vector<Observation> observations;
        for (u64 j = 0; j < k_observations_max; ++j) {
            observations.push_back({CoreletId(1000 + i * 100 + j), {Incarnation(1), 1, 1}, 9000});
        }
        one.hear(2, {Incarnation(3), 30, i}, observations);
        one.hear(5000 + i, {Incarnation(1), 1, 1});
    }
    EXPECT_EQ(one.core.view(one.now).size(), 2u);
}

TEST(GossipMessage, RoundTripsAndRefusesNonsense) {
    GossipMessage message{k_mesh, CoreletId(9), {Incarnation(2), 3, 4}, MapEpoch(5), 6, true, 7, {}, {}};
    for (u64 i = 1; i <= k_probes_max; ++i) message.probe.push_back(CoreletId(i << 40));
    for (u64 i = 1; i <= k_observations_max; ++i) {
        message.observations.push_back({CoreletId(i << 50),
                                        {Incarnation(100 + i), ~i, 1'000'000 * i, 900'000 * i},
                                        90'000,
                                        CoreletId(i << 45),
                                        4'000});
    }
    auto const bytes = encode_gossip(message);
    EXPECT_LE(bytes.size(), k_gossip_bytes_max);
    EXPECT_EQ(decode_gossip(bytes).value(), message);
    EXPECT_FALSE(decode_gossip({}).has_value());
    EXPECT_FALSE(decode_gossip(std::vector<u8>(100'000)).has_value());
    Prng rng(4);
    for (int i = 0; i < 5000; ++i) {
        auto damaged = bytes;
        for (u64 n = rng.between(1, 5); n > 0; --n)
            damaged[rng.below(damaged.size())] = static_cast<u8>(rng.next());
        damaged.resize(rng.below(damaged.size() + 1));
        auto const decoded = decode_gossip(damaged);
        if (decoded) EXPECT_LE(decoded->observations.size(), k_observations_max);
    }
}

}  // namespace
}  // namespace corelet::mesh
