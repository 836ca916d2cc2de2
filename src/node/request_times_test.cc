#include "node/request_times.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

TEST(RequestTimes, SinceTheLastLook) {
    RequestTimes times;
    EXPECT_EQ(times.take().requests, 0U);
    for (int i = 0; i < 100; ++i) times.took(4096, 1_ms);
    auto const seen = times.take();
    EXPECT_EQ(seen.requests, 100U);
    EXPECT_GE(seen.p95, 1_ms);
    EXPECT_LE(seen.p95, 1250_us);
    EXPECT_EQ(times.take().requests, 0U);
}

TEST(RequestTimes, LargeRequestsAreNotSlow) {
    RequestTimes times;
    for (int i = 0; i < 100; ++i) times.took(i % 2 == 0 ? 4096 : 1 * k_mib, i % 2 == 0 ? 1_ms : 16_ms);
    EXPECT_LE(times.take().p95, 1250_us);
}

}  // namespace
}  // namespace corelet
