#include "node/healing_pause.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr Instant at(i64 seconds) {
    return Instant{seconds * 1'000'000'000};
}
constexpr WallTime wall(i64 seconds) {
    return WallTime{1'700'000'000'000'000'000 + seconds * 1'000'000'000};
}
PauseOrder order(u64 number, i64 ends) {
    return PauseOrder{number, wall(ends), 100_s};
}

TEST(HealingPause, KeptAsWritten) {
    EXPECT_EQ(decode_pause(encode_pause(order(7, 50))), order(7, 50));
    EXPECT_EQ(decode_pause("no message"), std::nullopt);
    EXPECT_EQ(decode_pause(""), std::nullopt) << "a pause has a number";
    PauseOrder endless = order(1, 50);
    endless.length = k_pause_max + 1_s;
    EXPECT_EQ(decode_pause(encode_pause(endless)), std::nullopt);
}

TEST(HealingPause, EndsByEitherClock) {
    PauseClock clock;
    EXPECT_FALSE(clock.look({}, at(5), wall(0)));
    EXPECT_TRUE(clock.look(order(1, 100), at(10), wall(0)));
    EXPECT_TRUE(clock.look(order(1, 100), at(109), wall(99)));
    EXPECT_FALSE(clock.look(order(1, 100), at(109), wall(100)));
    EXPECT_FALSE(clock.look(order(1, 100), at(110), wall(0)))
        << "a wall clock that was set back does not prolong it";
}

TEST(HealingPause, ANewOneBeginsAnew) {
    PauseClock clock;
    EXPECT_TRUE(clock.look(order(1, 100), at(0), wall(0)));
    EXPECT_FALSE(clock.look(order(1, 100), at(100), wall(0)));
    EXPECT_TRUE(clock.look(order(2, 200), at(100), wall(100)));
    EXPECT_FALSE(clock.look({}, at(101), wall(101))) << "resumed";
}

}  // namespace
}  // namespace corelet
