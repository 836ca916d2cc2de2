#include "node/device_watch.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

// A device that does so many operations a second, one after the other unless `beside` says how many at once.
struct Device {
    CostMeter meter{0};
    Instant now{1};
    DeviceWork total;
    bool slow = false;
    std::vector<DeviceSpeed> others;

    explicit Device(u64 usual_ns = 0) : meter(usual_ns) { meter.add(total, now, false); }
    void window(u64 operations, u64 each_ns, u64 bytes = 4096) {
        total.operations += operations;
        total.bytes += operations * bytes;
        total.busy_ns += operations * each_ns;
        now = now + CostMeter::k_window;
        meter.add(total, now, slow);
        slow = judge_speed(DeviceSpeed{{}, meter.cost()}, others, slow).slow;
    }
    void windows(int count, u64 operations, u64 each_ns) {
        for (int i = 0; i < count; ++i) window(operations, each_ns);
    }
    // How many windows until it is held to be slow, or fine; at most 100.
    int until(bool wanted, u64 operations, u64 each_ns) {
        int count = 0;
        while (slow != wanted && count < 100) {
            window(operations, each_ns);
            ++count;
        }
        return count;
    }
};

constexpr u64 k_usual = 1'000'000;
const std::vector<DeviceSpeed> k_peers(3, DeviceSpeed{{}, {k_usual, k_usual, k_usual}});

TEST(CostMeter, LearnsWhatIsUsual) {
    Device device;
    device.windows(5, 100, k_usual);
    EXPECT_EQ(device.meter.cost().usual, 0U);
    device.window(100, k_usual);
    EXPECT_EQ(device.meter.cost(), (UnitCost{k_usual, k_usual, k_usual}));
    device.windows(200, 100, k_usual * 3 / 2);
    EXPECT_NEAR(static_cast<double>(device.meter.cost().usual), 1.5 * k_usual, 0.05 * k_usual);
}

TEST(CostMeter, TooLittleWorkTellsNothing) {
    Device device(k_usual);
    device.windows(4, 1, k_usual * 10);
    EXPECT_EQ(device.meter.cost(), (UnitCost{0, 0, k_usual}));
    device.windows(4, 2, k_usual * 10);
    EXPECT_EQ(device.meter.cost().least, k_usual * 10);
    device.windows(2, 0, 0);
    EXPECT_EQ(device.meter.cost().least, 0U);
}

TEST(CostMeter, LargeOperationsAreManyUnits) {
    Device device(k_usual);
    for (int i = 0; i < 4; ++i) device.window(10, k_usual * 16, 1 << 20);
    EXPECT_EQ(device.meter.cost().least, k_usual);
}

// 32 at once for the whole time: each takes 32 times as long, and the device is as fast as ever.
TEST(CostMeter, AQueueIsNoSlowDevice) {
    Device device(k_usual);
    device.windows(4, 5000, k_usual * 32);
    EXPECT_EQ(device.meter.cost().least, k_usual);
}

TEST(DeviceWatch, AFifthOfItsSpeedIsNoticedWithinTwentySeconds) {
    Device device;
    device.others = k_peers;
    device.windows(20, 100, k_usual);
    EXPECT_FALSE(device.slow);
    EXPECT_LE(device.until(true, 100, 5 * k_usual), 4);
    auto const verdict = judge_speed(DeviceSpeed{{}, device.meter.cost()}, k_peers, true);
    EXPECT_EQ(verdict.reason, "writes take 5 ms, usually 1 ms, on others 1 ms");
    // However long that lasts, it does not become usual.
    device.windows(500, 100, 5 * k_usual);
    EXPECT_TRUE(device.slow);
    EXPECT_EQ(device.meter.cost().usual, k_usual);
    EXPECT_LE(device.until(false, 100, k_usual), 4);
}

TEST(DeviceWatch, AHiccupIsNothing) {
    Device device;
    device.others = k_peers;
    device.windows(20, 100, k_usual);
    for (int i = 0; i < 20; ++i) {
        device.window(100, 40 * k_usual);
        EXPECT_FALSE(device.slow);
        device.windows(3, 100, k_usual);
        EXPECT_FALSE(device.slow);
    }
}

TEST(DeviceWatch, WhatSlowsAllOfThemIsNotTheDevice) {
    Device device;
    device.others = std::vector<DeviceSpeed>(3, DeviceSpeed{{}, {4 * k_usual, 4 * k_usual, k_usual}});
    device.windows(20, 100, k_usual);
    device.windows(20, 100, 5 * k_usual);
    EXPECT_FALSE(device.slow);
    device.windows(60, 100, 5 * k_usual);
    EXPECT_GT(device.meter.cost().usual, 2 * k_usual) << "some time that is how it is";
}

TEST(DeviceWatch, SlowByNatureIsNotSlow) {
    Device device;
    device.others = k_peers;
    device.windows(100, 100, 8 * k_usual);
    EXPECT_FALSE(device.slow);
}

TEST(DeviceWatch, AloneItsOwnPastDecides) {
    Device device;
    device.windows(20, 100, k_usual);
    EXPECT_LE(device.until(true, 100, 5 * k_usual), 4);
}

TEST(DeviceWatch, BelowTheFloorNobodyWaits) {
    Device device;
    device.windows(20, 100, 20'000);
    device.windows(20, 100, 180'000);
    EXPECT_FALSE(device.slow);
}

TEST(DeviceWatch, WithoutWorkItIsWhatItWas) {
    Device device;
    device.others = k_peers;
    device.windows(20, 100, k_usual);
    (void)device.until(true, 100, 5 * k_usual);
    device.windows(50, 0, 0);
    EXPECT_TRUE(device.slow);
    EXPECT_LE(device.until(false, 5, k_usual), 4) << "five small writes a window are enough";
}

TEST(DeviceWatch, ReadsAreJudgedLikeWrites) {
    UnitCost const fine{k_usual, k_usual, k_usual}, bad{6 * k_usual, 6 * k_usual, k_usual};
    auto const verdict = judge_speed(DeviceSpeed{bad, fine}, {DeviceSpeed{fine, fine}}, false);
    EXPECT_TRUE(verdict.slow);
    EXPECT_EQ(verdict.reason, "reads take 6 ms, usually 1 ms, on others 1 ms");
    EXPECT_FALSE(judge_speed(DeviceSpeed{fine, fine}, {}, true).slow);
}

TEST(DeviceWatch, TheMiddleOneIsTypical) {
    EXPECT_EQ(typical_cost({}), 0U);
    EXPECT_EQ(typical_cost({{}, {}}), 0U);
    EXPECT_EQ(typical_cost({{5, 5, 1}, {0, 0, 2}, {9, 9, 9}}), 5U);
    EXPECT_EQ(typical_cost({{1, 1, 1}, {100, 100, 1}}), 1U);
}

}  // namespace
}  // namespace corelet
