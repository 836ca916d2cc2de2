#include "heal/scrub_schedule.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr i64 k_hour = 3600;
constexpr WallTime wall_at(i64 seconds) {
    return WallTime{(1'700'000'000 + seconds) * 1'000'000'000};
}
constexpr ScrubSchedule::Options k_weekly{Duration{7 * 24 * k_hour * 1'000'000'000}, 1 * k_mib};
FragmentId numbered(u64 seq) {
    return FragmentId{ChunkId{SpaceId(3), seq}, 2};
}

// Hour by hour, with what it asks for; gives how many hours a pass takes.
i64 hours_of_a_pass(u64 held, ScrubSchedule& schedule) {
    u64 read = 0;
    i64 hour = 0;
    for (; read < held; ++hour) {
        u64 const bytes = schedule.bytes_per_second(held, wall_at(hour * k_hour)) * static_cast<u64>(k_hour);
        schedule.done(numbered(static_cast<u64>(hour)), bytes);
        read += bytes;
    }
    return hour;
}

TEST(ScrubSchedule, AFullPassIsDoneInTime) {
    for (u64 const tib : {1, 16, 100}) {
        ScrubSchedule schedule(k_weekly, {}, wall_at(0));
        i64 const hours = hours_of_a_pass(tib * 1024 * k_gib, schedule);
        EXPECT_LE(hours, 7 * 24) << tib;
        EXPECT_GE(hours, 6 * 24) << "evenly, not in a rush: " << tib;
    }
}

TEST(ScrubSchedule, FewBytesAreReadAtTheLeastRate) {
    ScrubSchedule schedule(k_weekly, {}, wall_at(0));
    EXPECT_EQ(schedule.bytes_per_second(1 * k_gib, wall_at(0)), 1 * k_mib);
}

TEST(ScrubSchedule, WhatWasMissedIsMadeUpFor) {
    ScrubSchedule schedule(k_weekly, {}, wall_at(0));
    u64 const held = 16 * 1024 * k_gib;
    u64 const even = schedule.bytes_per_second(held, wall_at(0));
    EXPECT_GE(schedule.bytes_per_second(held, wall_at(3 * 24 * k_hour)), even * 3 / 2);
    u64 const late = schedule.bytes_per_second(held, wall_at(1000 * 24 * k_hour));
    EXPECT_LE(late, even * 8 + 8) << "but within bounds, also by a clock that has jumped";
    EXPECT_EQ(schedule.bytes_per_second(held, wall_at(-1000)), even);
}

TEST(ScrubSchedule, GoesOnWhereItWas) {
    ScrubSchedule before(k_weekly, {}, wall_at(0));
    before.done(numbered(1), 10 * k_mib);
    before.pass_ended(wall_at(100));
    before.done(numbered(5), 30 * k_mib);
    ScrubSchedule after(k_weekly, before.save(), wall_at(200));
    ASSERT_TRUE(after.position().has_value());
    EXPECT_EQ(*after.position(), numbered(5));
    EXPECT_EQ(after.last_ended(), wall_at(100));
    EXPECT_EQ(after.passes(), 1U);
    EXPECT_EQ(after.permille(60 * k_mib), 500U);
    EXPECT_EQ(after.bytes_per_second(1'000'000 * k_mib, wall_at(24 * k_hour)),
              before.bytes_per_second(1'000'000 * k_mib, wall_at(24 * k_hour)))
        << "the pass is as old as it was";
}

TEST(ScrubSchedule, WhatIsNoSuchNoteBeginsAPass) {
    std::vector<u8> const rubbish{0xFF, 0xFF, 0xFF};
    ScrubSchedule schedule(k_weekly, rubbish, wall_at(0));
    EXPECT_FALSE(schedule.position().has_value());
    EXPECT_FALSE(schedule.last_ended().has_value());
}

TEST(ScrubSchedule, IsSavedWhenItIsWorthIt) {
    ScrubSchedule schedule(k_weekly, {}, wall_at(0));
    schedule.done(numbered(1), 1 * k_mib);
    EXPECT_FALSE(schedule.is_worth_saving());
    schedule.done(numbered(2), 63 * k_mib);
    EXPECT_TRUE(schedule.is_worth_saving());
    (void)schedule.save();
    EXPECT_FALSE(schedule.is_worth_saving());
    schedule.pass_ended(wall_at(1));
    EXPECT_TRUE(schedule.is_worth_saving());
}

}  // namespace
}  // namespace corelet
