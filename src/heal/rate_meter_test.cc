#include <gtest/gtest.h>

#include "heal/rate_meter.h"

namespace corelet {
namespace {

TEST(RateMeter, NothingIsKnownBeforeAnythingIsDone) {
    RateMeter meter;
    EXPECT_EQ(meter.time_for(0, Instant{}), Duration{});
    EXPECT_FALSE(meter.time_for(1, Instant{}).has_value());
    meter.begin(Instant{});
    EXPECT_FALSE(meter.time_for(1, Instant{5'000'000'000}).has_value());
}

// A rebuild that gets on evenly: what is told in its second half is within a few percent.
TEST(RateMeter, AnEvenRateIsTold) {
    for (i64 const seconds : {4, 20, 300}) {
        RateMeter meter;
        Instant const begun{123'456'789};
        meter.begin(begun);
        for (i64 tenth = 1; tenth <= seconds * 10; ++tenth) {
            Instant const now = begun + 100_ms * tenth;
            meter.done(1000, now);
            if (tenth * 2 < seconds * 10) continue;
            i64 const left = seconds * 10 - tenth;
            auto const told = meter.time_for(static_cast<u64>(left) * 1000, now);
            ASSERT_TRUE(told.has_value());
            EXPECT_NEAR(static_cast<double>(told->ms()), static_cast<double>(left * 100),
                        static_cast<double>(left) * 100 / 5 + 1);
        }
    }
}

TEST(RateMeter, AChangedRateIsFollowedWithinTheWindow) {
    RateMeter meter;
    Instant now{};
    meter.begin(now);
    for (int i = 0; i < 600; ++i) meter.done(10'000, now = now + 100_ms);
    for (int i = 0; i < 310; ++i) meter.done(1'000, now = now + 100_ms);
    auto const told = meter.time_for(10'000, now);
    ASSERT_TRUE(told.has_value());
    EXPECT_NEAR(static_cast<double>(told->ms()), 1'000, 100);
}

TEST(RateMeter, APauseBetweenTwoRebuildsDoesNotCount) {
    RateMeter meter;
    Instant now{};
    meter.done(1'000, now);
    meter.end();
    now = now + 10_min;
    meter.begin(now);
    for (int i = 0; i < 20; ++i) meter.done(1'000, now = now + 100_ms);
    auto const told = meter.time_for(10'000, now);
    ASSERT_TRUE(told.has_value());
    EXPECT_NEAR(static_cast<double>(told->ms()), 1'000, 60);
}

}  // namespace
}  // namespace corelet
