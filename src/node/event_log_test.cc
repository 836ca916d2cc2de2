#include "node/event_log.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

HealthChange change(std::string reason) {
    return HealthChange{Subject::volume("v"), HealthLevel::kServing, HealthState::kHealthy, HealthState::kFailed,
                        std::move(reason)};
}

std::vector<std::string> reasons(const std::vector<LoggedEvent>& events) {
    std::vector<std::string> out;
    for (const LoggedEvent& event : events) out.push_back(event.change.reason);
    return out;
}

TEST(EventLog, GivesWhatIsNewSinceANumberAndATime) {
    EventLog log(CoreletId(5), Incarnation(3));
    for (i64 i = 1; i <= 4; ++i) log.add(change(std::to_string(i)), WallTime{i * 100});
    auto const all = log.after(0, WallTime{}, 10);
    EXPECT_EQ(reasons(all), (std::vector<std::string>{"1", "2", "3", "4"}));
    EXPECT_EQ(all[0].corelet, CoreletId(5));
    EXPECT_EQ(all[3].number, log.last());
    EXPECT_EQ(reasons(log.after(all[1].number, WallTime{}, 10)), (std::vector<std::string>{"3", "4"}));
    EXPECT_EQ(reasons(log.after(0, WallTime{300}, 10)), (std::vector<std::string>{"3", "4"}));
    EXPECT_EQ(reasons(log.after(0, WallTime{}, 2)), (std::vector<std::string>{"1", "2"}));
    EXPECT_TRUE(log.after(log.last(), WallTime{}, 10).empty());
}

TEST(EventLog, KeepsTheNewestAndShowsTheGap) {
    EventLog log(CoreletId(5), Incarnation(1));
    for (usize i = 0; i < EventLog::k_kept + 7; ++i) log.add(change("c"), WallTime{});
    auto const kept = log.after(0, WallTime{}, 10'000);
    ASSERT_EQ(kept.size(), EventLog::k_kept);
    EXPECT_EQ(kept.front().number & 0xFFFFFFFF, 8U);
    for (usize i = 1; i < kept.size(); ++i) ASSERT_EQ(kept[i].number, kept[i - 1].number + 1);
}

TEST(EventLog, ReasonsAreCut) {
    EventLog log(CoreletId(5), Incarnation(1));
    log.add(change(std::string(1000, 'x')), WallTime{});
    EXPECT_EQ(log.after(0, WallTime{}, 1).front().change.reason.size(), EventLog::k_reason_bytes_max);
    std::string umlauts = "x";
    for (int i = 0; i < 200; ++i) umlauts += "\xC3\xA4";
    log.add(change(umlauts), WallTime{});
    EXPECT_EQ(log.after(0, WallTime{}, 2).back().change.reason, umlauts.substr(0, EventLog::k_reason_bytes_max - 1))
        << "between two characters";
}

TEST(EventLog, NumbersGrowOverARestart) {
    pb::HealthMemory memory;
    u64 before = 0;
    {
        EventLog log(CoreletId(5), Incarnation(1));
        for (usize i = 0; i < EventLog::k_saved + 20; ++i) log.add(change(std::to_string(i)), WallTime{});
        log.save(memory);
        before = log.last();
    }
    ASSERT_EQ(static_cast<usize>(memory.events_size()), EventLog::k_saved);
    EventLog log(CoreletId(5), Incarnation(2));
    log.restore(memory);
    EXPECT_EQ(log.last(), before);
    EXPECT_EQ(log.after(0, WallTime{}, 1).front().change.reason, "20");
    log.add(change("after"), WallTime{});
    EXPECT_GT(log.last(), before);
    EXPECT_EQ(reasons(log.after(before, WallTime{}, 10)), (std::vector<std::string>{"after"}));
}

TEST(EventLog, WhatDoesNotParseIsLeftOut) {
    EventLog log(CoreletId(5), Incarnation(1));
    log.add(change("good"), WallTime{42});
    pb::HealthEvent whole;
    encode_event(log.after(0, WallTime{}, 1).front(), whole);
    EXPECT_EQ(*decode_event(whole), log.after(0, WallTime{}, 1).front());
    pb::HealthMemory memory;
    for (int field = 0; field < 5; ++field) {
        pb::HealthEvent bad = whole;
        if (field == 0) bad.set_subject(5);
        if (field == 1) bad.set_level(3);
        if (field == 2) bad.set_from(3);
        if (field == 3) bad.set_to(99);
        if (field == 4) bad.set_reason(std::string(EventLog::k_reason_bytes_max + 1, 'x'));
        EXPECT_FALSE(decode_event(bad)) << field;
        *memory.add_events() = bad;
    }
    *memory.add_events() = whole;
    EventLog next(CoreletId(5), Incarnation(2));
    next.restore(memory);
    EXPECT_EQ(reasons(next.after(0, WallTime{}, 10)), (std::vector<std::string>{"good"}));
    EventLog same(CoreletId(5), Incarnation(1));
    same.restore(memory);
    EXPECT_EQ(same.last(), 0U) << "a life's numbers are its own";
}

LoggedEvent at(u64 corelet, u64 number, i64 time) {
    return LoggedEvent{number, WallTime{time}, CoreletId(corelet), change("x")};
}

TEST(EventLog, LogsAreMergedByTimeAndEachKeepsItsOrder) {
    // Corelet 2's clock went back between its second event and its third.
    auto const merged =
        merge_events({{at(1, 1, 10), at(1, 2, 30)}, {at(2, 1, 5), at(2, 2, 20), at(2, 3, 8), at(2, 4, 40)}, {}});
    std::vector<std::pair<u64, u64>> order;
    for (const LoggedEvent& event : merged) order.emplace_back(event.corelet.v, event.number);
    EXPECT_EQ(order, (std::vector<std::pair<u64, u64>>{{2, 1}, {1, 1}, {2, 2}, {2, 3}, {1, 2}, {2, 4}}));
}

}  // namespace
}  // namespace corelet
