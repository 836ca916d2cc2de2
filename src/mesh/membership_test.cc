#include "mesh/membership_testing.h"

#include <gtest/gtest.h>

#include <map>

namespace corelet::mesh {
namespace {

usize expected_observers(unsigned n) {
    return std::min<usize>(n - 1, MembershipConfig{}.observers);
}

class KillDetection : public ::testing::TestWithParam<unsigned> {};

TEST_P(KillDetection, ObserversSuspectWithinTwoSecondsAndConfirmWithinFive) {
    for (u64 seed = 1; seed <= 10; ++seed) {
        Meshes mesh(GetParam(), seed);
        mesh.run(Duration{3'000'000'000 + static_cast<i64>(seed) * 37'000'000});
        EXPECT_TRUE(mesh.suspected.empty());
        Instant const death = mesh.now();
        mesh.kill(1);
        mesh.run(2_s);
        EXPECT_EQ(pairs(mesh.suspected).size(), expected_observers(GetParam()));
        mesh.run(3_s);
        EXPECT_EQ(pairs(mesh.confirmed).size(), expected_observers(GetParam()));
        for (const auto& v : mesh.confirmed) {
            EXPECT_EQ(v.peer, Meshes::id(1));
            EXPECT_GE(v.at - death, 3_s);
        }
    }
}
INSTANTIATE_TEST_SUITE_P(Sizes, KillDetection, ::testing::Values(3, 4, 8, 20, 100));

TEST(Membership, EverybodyHearsOfASuspicion) {
    Meshes mesh(100);
    mesh.run(3_s);
    mesh.kill(7);
    mesh.run(4_s);
    for (unsigned i = 0; i < 100; ++i) {
        if (i == 7) continue;
        EXPECT_NE(mesh.core(i).health(Meshes::id(7)), PeerHealth::kReached) << i;
        EXPECT_EQ(mesh.core(i).health(Meshes::id(8)), i == 8 ? PeerHealth::kDown : PeerHealth::kReached) << i;
    }
}

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
    usize const suspicions = mesh.suspected.size();
    mesh.run(10_s);
    for (const auto& v : mesh.recovered) EXPECT_NE(v.peer, Meshes::id(3));
    EXPECT_EQ(mesh.suspected.size(), suspicions) << "nor is it news that it is down";
    EXPECT_EQ(mesh.core(0).health(Meshes::id(3)), PeerHealth::kDown);
}

// A second death closes the ring, and whoever knew the first when the mesh was small observes it again.
TEST(Membership, WhoBeginsToObserveTheDeadDoesNotTakeThemForRecovered) {
    for (unsigned first = 0; first < 6; ++first)
        for (unsigned second = 0; second < 6; ++second) {
            if (first == second) continue;
            Meshes mesh(9);
            auto const show = [&] {
                for (unsigned i = 0; i < 9; ++i) mesh.show_map(i);
            };
            mesh.out_of_map = {Meshes::id(6), Meshes::id(7), Meshes::id(8)};
            show();
            mesh.run(4_s);
            mesh.out_of_map.clear();
            show();
            mesh.run(4_s);
            for (unsigned dead : {first, second}) {
                mesh.kill(dead);
                mesh.run(6_s);
                mesh.down_in_map.insert(Meshes::id(dead));
                show();
                mesh.run(6_s);
            }
            EXPECT_TRUE(mesh.recovered.empty()) << first << ", then " << second;
        }
}

TEST(Membership, LossConfirmsNobody) {
    for (unsigned n : {3u, 5u, 9u}) {
        Meshes mesh(n, n);
        mesh.loss_percent = 20;
        mesh.delay_max = 100_ms;
        mesh.run(5_min);
        EXPECT_TRUE(mesh.confirmed.empty()) << n << ": " << mesh.confirmed.size();
    }
}

TEST(SlowMembership, AnHourOfLossConfirmsNobodyOfNine) {
    Meshes mesh(9);
    mesh.loss_percent = 20;
    mesh.delay_max = 100_ms;
    mesh.run(60_min);
    EXPECT_TRUE(mesh.confirmed.empty()) << mesh.confirmed.size();
    RecordProperty("suspicions", static_cast<int>(mesh.suspected.size()));
}

// A thousand, and less than 5 kB a second of each.
TEST(SlowMembership, AThousandSayNoMoreThanAHundred) {
    std::map<unsigned, u64> rates;
    for (unsigned n : {100u, 1000u}) {
        Meshes mesh(n);
        mesh.run(3_s);
        u64 const bytes = mesh.bytes_sent;
        mesh.run(4_s);
        rates[n] = (mesh.bytes_sent - bytes) / n / 4;
        RecordProperty("bytes a second of " + std::to_string(n), static_cast<int>(rates[n]));
        mesh.kill(1);
        Instant const death = mesh.now();
        mesh.run(5_s);
        EXPECT_EQ(pairs(mesh.confirmed).size(), expected_observers(n));
        for (const auto& v : mesh.suspected) EXPECT_LE(v.at - death, 2_s) << n;
        EXPECT_LE((mesh.bytes_sent - bytes) / n / 9, 5'000u) << n << ", with news to pass on";
    }
    EXPECT_LE(rates[1000], 5'000u);
    EXPECT_LE(rates[1000], rates[100] * 3 / 2);
}

// An hour of a hundred takes minutes.
TEST(SlowMembership, LossConfirmsNobodyOfAHundred) {
    Meshes mesh(100);
    mesh.loss_percent = 20;
    mesh.run(5_min);
    EXPECT_TRUE(mesh.confirmed.empty()) << mesh.confirmed.size();
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

TEST(Membership, BothPartsConfirmEachOtherAndTakeItBack) {
    Meshes mesh(8);
    mesh.run(3_s);
    mesh.cut = [](unsigned a, unsigned b) { return (a < 3) != (b < 3); };
    mesh.run(5500_ms);
    std::set<CoreletId> found;
    for (const auto& v : mesh.confirmed) {
        EXPECT_NE(v.by < 3, v.peer < Meshes::id(3)) << "across the cut only";
        if (v.by >= 3) found.insert(v.peer);
    }
    EXPECT_EQ(found.size(), 3u) << "each of the smaller part, by some of the larger, which can commit it";
    mesh.cut = [](unsigned, unsigned) { return false; };
    mesh.run(5_s);
    for (unsigned i = 0; i < 8; ++i) {
        for (unsigned p = 0; p < 8; ++p)
            if (i != p) EXPECT_EQ(mesh.core(i).health(Meshes::id(p)), PeerHealth::kReached);
    }
    EXPECT_EQ(pairs(mesh.recovered), pairs(mesh.confirmed));
}

TEST(Membership, WhomNobodyAnswersBlamesItself) {
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

// Whoever can only hear, or only speak, is of no use to anybody: an answer takes both.
TEST(Membership, TheDeafAndTheMuteAreConfirmedAndConfirmNobody) {
    std::set<std::pair<unsigned, u64>> const all{{1, 1}, {2, 1}, {3, 1}, {4, 1}};
    for (bool deaf : {true, false}) {
        Meshes mesh(5);
        mesh.run(3_s);
        mesh.cut = [deaf](unsigned from, unsigned to) { return deaf ? to == 0 : from == 0; };
        mesh.run(5_s);
        EXPECT_EQ(pairs(mesh.confirmed), all) << deaf;
        mesh.run(30_s);
        EXPECT_EQ(pairs(mesh.confirmed), all) << deaf;
        EXPECT_TRUE(mesh.core(0).isolated());
    }
}

TEST(Membership, ACutLinkIsGoneRound) {
    for (bool one_way : {false, true}) {
        Meshes mesh(9);
        mesh.run(3_s);
        unsigned const a = *mesh.observers(0).begin();
        mesh.cut = [=](unsigned from, unsigned to) {
            return (from == a && to == 0) || (!one_way && from == 0 && to == a);
        };
        mesh.run(60_s);
        EXPECT_TRUE(mesh.confirmed.empty());
        EXPECT_TRUE(mesh.suspected.empty());
        EXPECT_EQ(mesh.core(a).health(Meshes::id(0)), PeerHealth::kIndirect);
        auto const view = mesh.core(a).view(mesh.now())[0];
        ASSERT_EQ(view.id, Meshes::id(0));
        EXPECT_TRUE(mesh.observers(0).contains(static_cast<unsigned>(view.via.v - 1))) << "who reaches it";
        EXPECT_GT(*view.silence, 50_s);
        EXPECT_EQ(mesh.core(a).via(Meshes::id(0)), view.via);
        auto const told = [&] {
            return std::ranges::count_if(mesh.indirect,
                                         [&](const auto& v) { return v.by == a && v.peer == Meshes::id(0); });
        };
        EXPECT_EQ(told(), 1) << "once";
        mesh.cut = [](unsigned, unsigned) { return false; };
        mesh.run(1_s);
        EXPECT_EQ(mesh.core(a).health(Meshes::id(0)), PeerHealth::kReached);
        EXPECT_EQ(mesh.core(a).via(Meshes::id(0)), CoreletId{});
        EXPECT_EQ(told(), 1);
    }
}

// Others were answered later than this one, by the turn of their questions; but not since it asked in vain.
TEST(Membership, TheDeadAreNotSoughtThroughOthers) {
    for (u64 seed = 0; seed < 20; ++seed) {
        Meshes mesh(9, seed);
        mesh.run(3_s + Duration{static_cast<i64>(seed) * 50'000'000});
        mesh.kill(0);
        mesh.run(6_s);
        EXPECT_FALSE(mesh.confirmed.empty());
        EXPECT_TRUE(mesh.indirect.empty()) << seed;
    }
}

// Whatever single one of the others still reaches it.
TEST(Membership, OneThatIsReachedByOneOnlyLives) {
    Meshes mesh(9);
    mesh.run(3_s);
    unsigned const a = *mesh.observers(0).begin();
    mesh.cut = [=](unsigned from, unsigned to) { return (from == 0 && to != a) || (to == 0 && from != a); };
    mesh.run(60_s);
    EXPECT_TRUE(mesh.confirmed.empty());
    for (unsigned i : mesh.observers(0))
        EXPECT_EQ(mesh.core(i).health(Meshes::id(0)), i == a ? PeerHealth::kReached : PeerHealth::kIndirect);
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

// It is awake for a moment each half second: too late for most answers, and that is not the others' fault.
TEST(Membership, ASlowOneIsPatient) {
    Meshes mesh(9);
    mesh.run(3_s);
    for (int i = 0; i < 600; ++i) {
        mesh.pause(4, 450_ms);
        mesh.run(500_ms);
    }
    EXPECT_TRUE(mesh.confirmed.empty()) << mesh.confirmed.size();
    for (const auto& v : mesh.suspected) EXPECT_NE(v.by, 4u);
}

TEST(Membership, HalfTheMeshDeadIsFound) {
    Meshes mesh(8);
    mesh.run(3_s);
    for (unsigned i = 0; i < 5; ++i) mesh.kill(i);
    mesh.run(20_s);
    std::set<CoreletId> found;
    for (const auto& v : mesh.confirmed) found.insert(v.peer);
    EXPECT_EQ(found.size(), 5u);
}

TEST(Membership, ALargeMeshFindsManyDead) {
    Meshes mesh(120);
    mesh.run(3_s);
    for (unsigned i = 0; i < 40; ++i) mesh.kill(i);
    mesh.run(6_s);
    std::set<CoreletId> found;
    for (const auto& v : mesh.confirmed) found.insert(v.peer);
    EXPECT_GE(found.size(), 38u) << "all whose observers did not all die but one";
    // The map shows them, the ring closes, and the rest comes to light.
    mesh.down_in_map = found;
    for (unsigned i = 40; i < 120; ++i) mesh.show_map(i);
    mesh.run(6_s);
    for (const auto& v : mesh.confirmed) found.insert(v.peer);
    EXPECT_EQ(found.size(), 40u);
}

TEST(Membership, TheCostDoesNotGrowWithTheMesh) {
    for (unsigned n : {10u, 300u}) {
        Meshes mesh(n);
        mesh.run(5_s);
        u64 const sent = mesh.sent, bytes = mesh.bytes_sent;
        mesh.run(10_s);
        EXPECT_LE(mesh.sent - sent, n * 10 * 11) << "5 pings and 5 answers a second";
        EXPECT_GE(mesh.sent - sent, n * 10 * 9);
        EXPECT_LE(mesh.bytes_sent - bytes, n * 10 * 2500) << n;
        RecordProperty("bytes a second of " + std::to_string(n),
                       static_cast<int>((mesh.bytes_sent - bytes) / n / 10));
    }
}

}  // namespace
}  // namespace corelet::mesh
