#include "device/io_scheduler.h"

#include <gtest/gtest.h>

#include <string>

#include "rt/scope.h"
#include "rt/sync.h"

namespace corelet {
namespace {

Task<void> hold(IoScheduler* scheduler, IoClass io, Event* until, std::string* order) {
    IoTurn const turn = co_await scheduler->enter(io);
    *order += "chs"[static_cast<usize>(io)];
    co_await until->wait();
}
Task<void> pass(IoScheduler* scheduler, IoClass io, std::string* order) {
    IoTurn const turn = co_await scheduler->enter(io);
    *order += "chs"[static_cast<usize>(io)];
    co_await yield();
}

TEST(IoScheduler, HealingAndScrubbingLeaveRoomForClients) {
    Executor executor;
    IoScheduler scheduler(8);
    Event never;
    std::string order;
    Scope scope(executor);
    for (int i = 0; i < 10; ++i) scope.spawn(hold(&scheduler, IoClass::kHeal, &never, &order));
    for (int i = 0; i < 10; ++i) scope.spawn(hold(&scheduler, IoClass::kScrub, &never, &order));
    executor.run_ready();
    EXPECT_EQ(scheduler.in_flight(IoClass::kHeal), 4U);
    EXPECT_EQ(scheduler.in_flight(IoClass::kScrub), 2U);
    for (int i = 0; i < 10; ++i) scope.spawn(hold(&scheduler, IoClass::kClient, &never, &order));
    executor.run_ready();
    EXPECT_EQ(scheduler.in_flight(), 8U);
    EXPECT_EQ(scheduler.in_flight(IoClass::kClient), 2U);
    scope.cancel();
    EXPECT_EQ(scheduler.in_flight(), 0U) << "dropped tasks give their turns back, granted ones too";
}

TEST(IoScheduler, HealingIsHeldToLessWhileClientsSuffer) {
    Executor executor;
    IoScheduler scheduler(8);
    Event gate;
    std::string order;
    Scope scope(executor);
    scheduler.limit_healing(1);
    for (int i = 0; i < 6; ++i) scope.spawn(hold(&scheduler, IoClass::kHeal, &gate, &order));
    executor.run_ready();
    EXPECT_EQ(scheduler.in_flight(IoClass::kHeal), 1U);
    scheduler.limit_healing(3);
    executor.run_ready();
    EXPECT_EQ(scheduler.in_flight(IoClass::kHeal), 3U) << "whoever waits goes on when there may be more";
    scheduler.limit_healing(1000);
    executor.run_ready();
    EXPECT_EQ(scheduler.in_flight(IoClass::kHeal), 4U) << "half of the depth in any case";
    scheduler.limit_healing(0);
    gate.set();
    executor.run_ready();
    EXPECT_EQ(order, "hhhhhh") << "one at least, so that all have had their turn";
}

TEST(IoScheduler, ClientsGoFirstAndNobodyStarves) {
    Executor executor;
    IoScheduler scheduler(1);
    Event gate;
    std::string order;
    Scope scope(executor);
    scope.spawn(hold(&scheduler, IoClass::kClient, &gate, &order));
    executor.run_ready();
    for (int i = 0; i < 40; ++i) {
        if (i < 2) scope.spawn(pass(&scheduler, IoClass::kScrub, &order));
        if (i < 2) scope.spawn(pass(&scheduler, IoClass::kHeal, &order));
        scope.spawn(pass(&scheduler, IoClass::kClient, &order));
    }
    executor.run_ready();
    gate.set();
    executor.run_ready();
    ASSERT_EQ(order.size(), 45U);
    EXPECT_EQ(order.substr(0, 15), std::string(15, 'c'));
    EXPECT_EQ(order[15], 's') << "each sixteenth turn goes to the lowest";
    EXPECT_EQ(order[31], 's');
    EXPECT_EQ(order.substr(43), "hh");
}

}  // namespace
}  // namespace corelet
