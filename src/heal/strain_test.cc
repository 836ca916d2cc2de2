#include "heal/strain.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr Instant at_second(i64 seconds) {
    return Instant{seconds * 1'000'000'000};
}

TEST(StrainMeter, AsLongAsUsualIsNoStrain) {
    StrainMeter meter(300_us);
    EXPECT_EQ(meter.permille(), 0U) << "nobody is there";
    for (i64 s = 0; s < 5; ++s) meter.add(100, 2_ms, false, at_second(s));
    EXPECT_EQ(meter.permille(), k_as_usual);
    meter.add(100, 4_ms, true, at_second(5));
    EXPECT_EQ(meter.permille(), 2000U);
    EXPECT_GE(meter.permille(), k_suffers);
    meter.add(100, 2_ms, true, at_second(6));
    EXPECT_EQ(meter.permille(), k_as_usual);
}

TEST(StrainMeter, WhatHealingDoesIsNotUsual) {
    StrainMeter meter(300_us);
    meter.add(100, 2_ms, false, at_second(0));
    for (i64 s = 1; s < 100; ++s) meter.add(100, 8_ms, true, at_second(s));
    EXPECT_EQ(meter.permille(), 4000U) << "however long it goes on";
    // At its floor it is not healing's doing any more: another load is learnt.
    for (i64 s = 100; s < 130; ++s) meter.add(100, 8_ms, false, at_second(s));
    EXPECT_LT(meter.permille(), k_suffers);
}

// As at an owner that has just taken a volume whose former owner is being rebuilt.
TEST(StrainMeter, WhoHasSeenNothingElseGoesByTheLeastItSaw) {
    StrainMeter meter(300_us);
    meter.add(100, 3_ms, true, at_second(0));
    EXPECT_EQ(meter.permille(), k_as_usual);
    meter.add(100, 2_ms, true, at_second(1));
    meter.add(100, 6_ms, true, at_second(2));
    EXPECT_EQ(meter.permille(), 3000U);
    meter.add(100, 1_ms, false, at_second(3));
    EXPECT_EQ(meter.usual(), 1_ms);
    meter.add(100, 500_us, true, at_second(4));
    EXPECT_EQ(meter.usual(), 1_ms) << "that is known now";
}

TEST(StrainMeter, NobodyFeelsMicroseconds) {
    StrainMeter meter(300_us);
    meter.add(100, 100_us, false, at_second(0));
    meter.add(100, 390_us, true, at_second(1));
    EXPECT_EQ(meter.permille(), k_as_usual);
}

TEST(StrainMeter, AFewRequestsTellThatSomebodyIsThere) {
    StrainMeter meter(300_us);
    meter.add(1, 500_ms, true, at_second(0));
    EXPECT_EQ(meter.permille(), k_as_usual);
    EXPECT_EQ(meter.usual(), Duration{});
    meter.add(0, {}, true, at_second(4));
    EXPECT_EQ(meter.permille(), k_as_usual);
    meter.add(0, {}, true, at_second(5));
    EXPECT_EQ(meter.permille(), 0U) << "gone";
}

TEST(HealWords, HoldForAWhile) {
    HealWords words;
    words.strained(CoreletId(1), 1800, at_second(0));
    words.strained(CoreletId(2), 2500, at_second(1));
    EXPECT_EQ(words.strain(at_second(2)).permille, 2500U);
    EXPECT_EQ(words.strain(at_second(2)).from, CoreletId(2));
    words.strained(CoreletId(2), k_as_usual, at_second(2));
    EXPECT_EQ(words.strain(at_second(2)).from, CoreletId(1));
    EXPECT_EQ(words.strain(at_second(3)).from, CoreletId(2)) << "the first has said nothing for three seconds";
    EXPECT_EQ(words.strain(at_second(5)).permille, 0U);
}

TEST(HealWords, CountsWhoRebuilds) {
    HealWords words;
    words.rebuilding(CoreletId(1), 100, 4_s, at_second(0));
    words.rebuilding(CoreletId(2), 100, 40_s, at_second(0));
    EXPECT_EQ(words.rebuilders(at_second(3)), 2U);
    EXPECT_EQ(words.rebuilders(at_second(4)), 1U);
    words.rebuilding(CoreletId(2), 0, 40_s, at_second(5));
    EXPECT_EQ(words.rebuilders(at_second(5)), 0U) << "it is done";
}

TEST(HealWords, AreBounded) {
    HealWords words;
    for (u64 id = 1; id <= HealWords::k_peers_max + 10; ++id)
        words.rebuilding(CoreletId(id), 1, 100_s, at_second(0));
    EXPECT_EQ(words.rebuilders(at_second(1)), HealWords::k_peers_max);
}

}  // namespace
}  // namespace corelet
