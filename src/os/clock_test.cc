#include "os/clock.h"

#include <gtest/gtest.h>

#include <set>

namespace corelet::os {
namespace {

constexpr Instant k_now{1'234'567'890'123};

TEST(Slack, WhatIsNearIsExact) {
    for (Duration ahead : {Duration{}, 1_ms, 20_ms, 99_ms, Duration{} - 5_s})
        EXPECT_EQ(slackened(k_now + ahead, k_now), k_now + ahead);
    Instant const never{INT64_MAX};
    EXPECT_EQ(slackened(never, k_now), never);
}

TEST(Slack, NeverSoonerAndAtMostATenthOfASecondLater) {
    for (i64 ms = 100; ms < 20'000; ms += 7) {
        Duration const ahead = 1_ms * ms;
        Duration const later = slackened(k_now + ahead, k_now) - (k_now + ahead);
        EXPECT_GE(later, Duration{});
        EXPECT_LT(later, ms < 250 ? 25_ms : 100_ms) << ms;
    }
}

TEST(Slack, WhatIsFarAwayMeets) {
    std::set<Instant> instants;
    for (i64 us = 0; us < 1'000'000; us += 1'000) instants.insert(slackened(k_now + 2_s + 1_us * us, k_now));
    EXPECT_LE(instants.size(), 11U) << "of a thousand timers in a second";
    // And those that are less far away, at some of the same and few between.
    for (i64 us = 0; us < 1'000'000; us += 1'000) {
        Instant const when = k_now + 2_s + 1_us * us;
        instants.insert(slackened(when, when - 150_ms));
    }
    EXPECT_LE(instants.size(), 42U);
}

}  // namespace
}  // namespace corelet::os
