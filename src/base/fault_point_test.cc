#include "base/fault_point.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

TEST(FaultPoint, FiresOnlyWhileArmedAndAsTheSeedDraws) {
    EXPECT_FALSE(FAULT_POINT("cache.miss"));
    constexpr usize k_index = fault_point_index("cache.miss");
    u64 runs_on = 0, fired = 0;
    for (u64 seed = 1; seed <= 60; ++seed) {
        FaultPoints points{Prng(seed)};
        for (int i = 0; i < 1'000; ++i) (void)FAULT_POINT("cache.miss");
        EXPECT_EQ(points.point(k_index).reached, 1'000U);
        runs_on += points.point(k_index).per_million != 0;
        fired += points.point(k_index).fired;
        if (points.point(k_index).per_million == 0) EXPECT_EQ(points.point(k_index).fired, 0U);
    }
    EXPECT_GT(runs_on, 5U);
    EXPECT_LT(runs_on, 40U);
    EXPECT_GT(fired, 100U);
    EXPECT_FALSE(FAULT_POINT("cache.miss"));
}

TEST(FaultPoint, TheSameSeedFiresTheSame) {
    auto const firings = [](u64 seed) {
        FaultPoints points{Prng(seed)};
        std::string out;
        for (int i = 0; i < 500; ++i) out += FAULT_POINT("rpc.early_timeout") ? '1' : '0';
        return out;
    };
    for (u64 seed = 1; seed < 20; ++seed) EXPECT_EQ(firings(seed), firings(seed));
}

TEST(FaultPoint, WhatHasFiredOftenBecomesRareUnlessItIsForced) {
    constexpr usize k_index = fault_point_index("cache.miss");
    u64 most = 0;
    for (u64 seed = 1; seed <= 60; ++seed) {
        FaultPoints points{Prng(seed)};
        for (int i = 0; i < 10'000; ++i) (void)FAULT_POINT("cache.miss");
        most = std::max(most, points.point(k_index).fired);
    }
    EXPECT_GT(most, FaultPoints::k_fired_often);
    EXPECT_LT(most, 1'000U);
    FaultPoints points{Prng(1)};
    points.force(k_index);
    for (int i = 0; i < 10'000; ++i) EXPECT_TRUE(FAULT_POINT("cache.miss"));
}

TEST(FaultPoint, SuspendedOrDisarmedItIsStill) {
    for (u64 seed = 1; seed < 20; ++seed) {
        FaultPoints points{Prng(seed)};
        {
            FaultPoints::Suspension const suspension;
            for (int i = 0; i < 100; ++i) EXPECT_FALSE(FAULT_POINT("cache.miss"));
        }
        EXPECT_EQ(points.point(fault_point_index("cache.miss")).reached, 0U);
        points.disarm();
        for (int i = 0; i < 100; ++i) EXPECT_FALSE(FAULT_POINT("cache.miss"));
        EXPECT_EQ(points.point(fault_point_index("cache.miss")).reached, 100U);
    }
}

}  // namespace
}  // namespace corelet
