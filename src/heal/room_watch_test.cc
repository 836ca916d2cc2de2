#include "heal/room_watch.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr Instant k_start{};

TEST(RoomWatch, WhoWasNeverRefusedIsTried) {
    RoomWatch watch;
    EXPECT_FALSE(watch.is_full());
    EXPECT_FALSE(watch.waits(0, k_start));
}

TEST(RoomWatch, IsTriedEverMoreRarelyUpToOnceAMinute) {
    RoomWatch watch;
    Instant now = k_start;
    usize tries = 0;
    for (; now < k_start + 600_s; now = now + 100_ms) {
        if (watch.waits(5, now)) continue;
        ++tries;
        watch.refused(10, 5, now);
    }
    // 1, 2, 4 ... 32, then once a minute: not 600.
    EXPECT_GE(tries, 13U);
    EXPECT_LE(tries, 17U);
}

TEST(RoomWatch, RefusalsOfOneRoundCountOnce) {
    RoomWatch watch;
    for (int i = 0; i < 4; ++i) watch.refused(10, 5, k_start);
    EXPECT_TRUE(watch.waits(5, k_start + 900_ms));
    EXPECT_FALSE(watch.waits(5, k_start + 1_s));
}

TEST(RoomWatch, MoreRoomIsTriedAtOnce) {
    RoomWatch watch;
    for (int i = 0; i < 8; ++i) watch.refused(10, 5, k_start + 60_s * i);
    Instant const now = k_start + 60_s * 7 + 1_s;
    EXPECT_TRUE(watch.waits(5, now));
    EXPECT_TRUE(watch.waits(14, now)) << "not enough for what was refused";
    EXPECT_FALSE(watch.waits(15, now));
    watch.took();
    EXPECT_FALSE(watch.is_full());
    watch.refused(10, 15, now);
    EXPECT_FALSE(watch.waits(15, now + 1_s)) << "it begins with a short pause again";
}

}  // namespace
}  // namespace corelet
