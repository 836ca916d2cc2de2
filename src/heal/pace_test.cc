#include "heal/pace.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr Instant at_ms(i64 ms) {
    return Instant{ms * 1'000'000};
}
constexpr u64 k_floor = Pace::Options{}.floor;
constexpr HealWords::Strain k_nobody{};

// Rebuilds for so many seconds as fast as it may, at most `most` bytes a second; gives what was rebuilt in the
// last.
struct PaceRig {
    Pace pace{Pace::Options{}};
    i64 second = 0;
    u64 run(int seconds, u32 own, u64 most = 1 * k_gib, HealWords::Strain peers = k_nobody) {
        constexpr u64 k_piece = 64 * k_kib;
        u64 done = 0;
        for (int i = 0; i < seconds; ++i, ++second) {
            pace.tick(own, peers, true, at_ms(second * 1000));
            done = 0;
            Instant now = at_ms(second * 1000);
            Instant const end = at_ms(second * 1000 + 1000);
            while (now < end && done < most) {
                Duration const wait = pace.take(k_piece, now);
                if (wait.ns == 0) done += k_piece;
                now = now + wait;
            }
        }
        return done;
    }
};

TEST(Pace, AsFastAsItGoesWithoutClients) {
    PaceRig rig;
    EXPECT_EQ(rig.run(3, 0), 1 * k_gib);
    EXPECT_EQ(rig.pace.rate(), 0U);
    EXPECT_EQ(rig.pace.reason(), PaceReason::kFree);
}

TEST(Pace, WithClientsItBeginsCarefullyAndGetsFasterWhileTheyAreWell) {
    PaceRig rig;
    u64 const first = rig.run(1, k_as_usual);
    EXPECT_LE(first, k_floor * 4 + k_mib);
    EXPECT_EQ(rig.pace.reason(), PaceReason::kClients);
    u64 const later = rig.run(6, k_as_usual);
    EXPECT_GE(later, first * 16) << "it doubles until somebody complains";
    EXPECT_FALSE(rig.pace.at_floor());
}

TEST(Pace, WorkBeginsCarefullyAndIsFreeWhenNobodyIsThere) {
    PaceRig rig;
    rig.pace.tick(0, k_nobody, false, at_ms(0));
    EXPECT_EQ(rig.pace.rate(), k_floor * 4);
    rig.second = 20;
    rig.run(1, 0);
    EXPECT_EQ(rig.pace.rate(), 0U);
}

TEST(Pace, ClientsWhereItReadsArePresentToo) {
    PaceRig rig;
    rig.run(1, 0, 1 * k_gib, {k_as_usual, CoreletId(3)});
    EXPECT_EQ(rig.pace.rate(), k_floor * 4);
    EXPECT_EQ(rig.pace.reason(), PaceReason::kPeersClients);
    EXPECT_EQ(rig.pace.whose(), CoreletId(3));
    rig.run(6, 0, 1 * k_gib, {k_as_usual, CoreletId(3)});
    EXPECT_GE(rig.pace.rate(), k_floor * 4 * 16);
}

TEST(Pace, HalvesWhenTheySufferAndAddsSlowlyAfterwards) {
    PaceRig rig;
    u64 const before = rig.run(7, k_as_usual);
    u64 const after = rig.run(1, k_suffers);
    EXPECT_LE(after, before / 2 + k_mib);
    EXPECT_GE(after, before / 2 - k_mib);
    u64 const next = rig.run(2, k_as_usual);
    EXPECT_LE(next, after + 2 * Pace::Options{}.step + k_mib) << "no more doubling";
    EXPECT_GT(next, after);
}

// What is allowed may be far above what a device does: half of that would be no decrease.
TEST(Pace, HalvesWhatWasInFactDone) {
    PaceRig rig;
    rig.run(10, k_as_usual, 64 * k_mib);
    EXPECT_LE(rig.run(1, k_suffers, 1 * k_gib), 33 * k_mib);
}

TEST(Pace, NeverBelowTheFloor) {
    PaceRig rig;
    u64 const done = rig.run(60, 100'000);
    EXPECT_GE(done, k_floor - 128 * k_kib);
    EXPECT_LE(done, k_floor + 128 * k_kib);
    EXPECT_TRUE(rig.pace.at_floor());
}

TEST(Pace, WhatIsNotUsedUpIsNotRaised) {
    PaceRig rig;
    rig.run(3, k_as_usual);
    u64 const allowed = rig.pace.rate();
    rig.run(20, k_as_usual, 64 * k_kib);
    EXPECT_LE(rig.pace.rate(), allowed * 2);
}

TEST(Pace, ClientsElsewhereCountUntilTheyAreQuiet) {
    PaceRig rig;
    rig.run(2, 0);
    rig.run(1, 0, 1 * k_gib, {2000, CoreletId(7)});
    EXPECT_NE(rig.pace.rate(), 0U);
    EXPECT_EQ(rig.pace.reason(), PaceReason::kPeersClients);
    EXPECT_EQ(rig.pace.whose(), CoreletId(7));
    rig.run(5, 0);
    EXPECT_NE(rig.pace.rate(), 0U);
    rig.run(10, 0);
    EXPECT_EQ(rig.pace.rate(), 0U) << "nobody complains any more";
}

TEST(Pace, LimitsBindAndSayWhose) {
    PaceRig rig;
    rig.pace.limit({10 * k_mib, 0});
    EXPECT_LE(rig.run(2, 0), 10 * k_mib + 64 * k_kib);
    EXPECT_EQ(rig.pace.reason(), PaceReason::kCoreletLimit);
    rig.pace.limit({10 * k_mib, 1 * k_mib});
    EXPECT_LE(rig.run(2, 0), 1 * k_mib + 64 * k_kib) << "also below the floor: it is the operator's word";
    EXPECT_EQ(rig.pace.reason(), PaceReason::kMeshLimit);
}

// Several wait for their turn, and ask at other moments: time that pays for less than a byte must not get lost.
TEST(Pace, ManyThatAskGetOnAtALowRate) {
    Pace pace{Pace::Options{}};
    pace.limit({10, 0});
    EXPECT_EQ(pace.take(10, at_ms(0)).ns, 0);
    int granted = 0;
    for (i64 ms = 1; ms <= 3500; ms += 7) granted += pace.take(10, at_ms(ms)).ns == 0 ? 1 : 0;
    EXPECT_EQ(granted, 3);
}

TEST(HealDepth, GivesWayAtTheSource) {
    HealDepth depth(2, 32);
    EXPECT_EQ(depth.tick(k_as_usual), 32U);
    EXPECT_EQ(depth.tick(k_suffers), 16U);
    for (int i = 0; i < 10; ++i) (void)depth.tick(k_suffers);
    EXPECT_EQ(depth.tick(k_suffers), 2U);
    EXPECT_EQ(depth.tick(0), 3U);
}

TEST(MeshShare, IsSharedByThoseWithWork) {
    EXPECT_EQ(mesh_share(0, 5, true, 8), 0U) << "no budget";
    EXPECT_EQ(mesh_share(800, 3, true, 8), 200U);
    EXPECT_EQ(mesh_share(800, 0, true, 8), 800U) << "the last one has all of it";
    EXPECT_EQ(mesh_share(800, 0, false, 8), 100U) << "nothing was heard yet: all are taken for busy";
    EXPECT_EQ(mesh_share(1, 7, true, 8), 1U) << "never none";
}

}  // namespace
}  // namespace corelet
