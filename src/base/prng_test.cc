#include "base/prng.h"

#include <gtest/gtest.h>

#include "base/hash.h"

namespace corelet {
namespace {

// Placement and simulated schedules are made of these numbers: they never change.
TEST(Prng, GoldenVectors) {
    EXPECT_EQ(mix64(0), 0xE220A8397B1DCDAFULL);  // the reference implementation's first output for seed 0
    Prng rng(1);
    EXPECT_EQ(rng.next(), 0x6e72e9235d6f4b95ULL);
    EXPECT_EQ(rng.next(), 0x75eb4e1df7f83449ULL);
    EXPECT_EQ(hash64(1, 2, 3), 0x43b3dca5757648d3ULL);
    EXPECT_EQ(hash64("corelet"), 0x61c491fa1631e3cULL);
}

TEST(Prng, ForksDependOnSeedAndNameOnly) {
    Prng a(7), b(7);
    (void)a.next();
    EXPECT_EQ(a.fork("disk").next(), b.fork("disk").next());
    EXPECT_NE(a.fork("disk").next(), a.fork("net").next());
    EXPECT_NE(a.fork("disk", 1).next(), a.fork("disk", 2).next());
}

TEST(Prng, BelowStaysBelowAndReachesAll) {
    Prng rng(3);
    std::array<int, 10> seen{};
    for (int i = 0; i < 10'000; ++i) ++seen[rng.below(10)];
    for (int count : seen) EXPECT_NEAR(count, 1000, 200);
}

}  // namespace
}  // namespace corelet
