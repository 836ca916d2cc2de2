#include "mesh/rumours.h"

#include <gtest/gtest.h>

namespace corelet::mesh {
namespace {

constexpr Instant k_now{50'000'000'000};

Observation word(u64 peer, u64 observer) {
    return {CoreletId(peer), {}, 2000, CoreletId(observer), 0};
}

TEST(Rumours, ArePassedOnSomeLogarithmOfTheMembersTimes) {
    for (auto const& [members, times] : std::vector<std::pair<usize, usize>>{{1, 3}, {9, 12}, {1000, 30}}) {
        Rumours rumours;
        EXPECT_TRUE(rumours.hear(word(1, 2), k_now, k_now, members));
        usize told = 0;
        for (int i = 0; i < 100; ++i) {
            std::vector<Observation> out;
            rumours.pass_on(8, k_now + 100_ms, out);
            told += out.size();
            for (const Observation& each : out) EXPECT_EQ(each.age_ms, 100u);
        }
        EXPECT_EQ(told, times);
    }
}

TEST(Rumours, TheSameWordIsNoNewsALaterOneIs) {
    Rumours rumours;
    EXPECT_TRUE(rumours.hear(word(1, 2), k_now, k_now, 9));
    EXPECT_FALSE(rumours.hear(word(1, 2), k_now + 20_ms, k_now + 20_ms, 9)) << "its age is rounded";
    EXPECT_FALSE(rumours.hear(word(1, 2), k_now - 1_s, k_now, 9));
    EXPECT_TRUE(rumours.hear(word(1, 3), k_now, k_now, 9)) << "another's";
    EXPECT_TRUE(rumours.hear(word(1, 2), k_now + 2_s, k_now + 2_s, 9));
    EXPECT_FALSE(rumours.hear(word(4, 2), k_now, k_now + Rumours::k_life, 9)) << "old";
    EXPECT_EQ(rumours.size(), 2u);
}

TEST(Rumours, ThoseThatFewHaveGoFirstAndTheOldGo) {
    Rumours rumours;
    std::vector<Observation> out;
    EXPECT_TRUE(rumours.hear(word(1, 2), k_now, k_now, 9));
    rumours.pass_on(8, k_now, out);
    EXPECT_TRUE(rumours.hear(word(3, 2), k_now + 1_s, k_now + 1_s, 9));
    out.clear();
    rumours.pass_on(1, k_now + 1_s, out);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].peer, CoreletId(3));
    out.clear();
    rumours.pass_on(8, k_now + Rumours::k_life, out);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0].peer, CoreletId(3)) << "the other is over";
}

TEST(Rumours, AreBounded) {
    Rumours rumours;
    for (u64 i = 1; i <= 1000; ++i) EXPECT_TRUE(rumours.hear(word(i, 2), k_now, k_now, 1000));
    EXPECT_EQ(rumours.size(), Rumours::k_kept_max);
    std::vector<Observation> out;
    rumours.pass_on(8, k_now, out);
    EXPECT_EQ(out.size(), 8u);
}

}  // namespace
}  // namespace corelet::mesh
