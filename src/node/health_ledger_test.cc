#include "node/health_ledger.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

struct Book {
    HealthLedger ledger;
    Instant now{1'000'000'000};
    Subject const subject = Subject::corelet(CoreletId(7));

    explicit Book(HealthLedger::Options options = {}) : ledger(options) {}
    std::optional<HealthChange> see(const Finding& finding, HealthLevel level = HealthLevel::kReachable) {
        return ledger.observe(subject, level, finding, now, WallTime{now.ns});
    }
    // Sees it every half second for so long; the last change that came of it.
    std::optional<HealthChange> see_for(Duration time, const Finding& finding) {
        std::optional<HealthChange> last;
        for (Instant const end = now + time; now < end; now = now + 500_ms)
            if (auto change = see(finding)) last = std::move(change);
        return last;
    }
    [[nodiscard]] HealthState state(HealthLevel level = HealthLevel::kReachable) const {
        return ledger.state(subject, level);
    }
};

TEST(HealthLedger, WhatIsWorseCountsAtOnceAndOnce) {
    Book book;
    EXPECT_FALSE(book.see(Finding::healthy()));
    auto const change = book.see(Finding::degraded("cut"));
    ASSERT_TRUE(change);
    EXPECT_EQ(*change, (HealthChange{book.subject, HealthLevel::kReachable, HealthState::kHealthy,
                                     HealthState::kDegraded, "cut"}));
    EXPECT_FALSE(book.see(Finding::degraded("cut")));
    EXPECT_EQ(book.see(Finding::failed("gone"))->from, HealthState::kDegraded);
    EXPECT_EQ(book.state(), HealthState::kFailed);
}

TEST(HealthLedger, WhatIsBetterCountsWhenItLasts) {
    Book book;
    (void)book.see(Finding::degraded("cut"));
    EXPECT_FALSE(book.see_for(4_s, Finding::healthy()));
    EXPECT_EQ(book.state(), HealthState::kDegraded);
    (void)book.see(Finding::degraded("cut again"));
    EXPECT_FALSE(book.see_for(4_s, Finding::healthy())) << "the calm begins anew";
    auto const change = book.see_for(2_s, Finding::healthy());
    ASSERT_TRUE(change);
    EXPECT_EQ(change->to, HealthState::kHealthy);
    EXPECT_EQ(change->reason, "cut again") << "what it has recovered from";
}

TEST(HealthLedger, FromFailedToTheWorstThatWasSeenMeanwhile) {
    Book book;
    (void)book.see(Finding::failed("gone"));
    (void)book.see_for(2_s, Finding::degraded("slow"));
    auto const change = book.see_for(4_s, Finding::healthy());
    ASSERT_TRUE(change);
    EXPECT_EQ(change->to, HealthState::kDegraded);
    EXPECT_EQ(book.ledger.records().front().reason, "slow");
}

TEST(HealthLedger, WhoeverComesAndGoesIsBelievedLater) {
    Book book;
    std::vector<i64> recovered_after;
    for (int round = 0; round < 6; ++round) {
        (void)book.see(Finding::degraded("cut"));
        Instant const mended = book.now;
        while (book.state() != HealthState::kHealthy) (void)book.see_for(500_ms, Finding::healthy());
        recovered_after.push_back((book.now - mended).ms() / 1000);
    }
    EXPECT_EQ(recovered_after, (std::vector<i64>{5, 10, 20, 40, 80, 80}));
    (void)book.see_for(11_min, Finding::healthy());
    (void)book.see(Finding::degraded("cut"));
    EXPECT_TRUE(book.see_for(6_s, Finding::healthy())) << "that was long ago";
}

TEST(HealthLedger, LevelsAreKeptApart) {
    Book book;
    (void)book.see(Finding::degraded("cut"), HealthLevel::kReachable);
    (void)book.see(Finding::failed("late"), HealthLevel::kServing);
    EXPECT_EQ(book.state(HealthLevel::kReachable), HealthState::kDegraded);
    EXPECT_EQ(book.state(HealthLevel::kServing), HealthState::kFailed);
    EXPECT_EQ(book.state(HealthLevel::kStoring), HealthState::kHealthy);
    ASSERT_EQ(book.ledger.records().size(), 2U);
    book.ledger.forget(book.subject);
    EXPECT_TRUE(book.ledger.records().empty());
}

TEST(HealthLedger, SinceIsOfTheStateAndTheReasonOfNow) {
    Book book;
    (void)book.see(Finding::degraded("late by 1 s"));
    WallTime const began{book.now.ns};
    (void)book.see_for(3_s, Finding::degraded("late by 3 s"));
    EXPECT_EQ(book.ledger.records().front().since, began);
    EXPECT_EQ(book.ledger.records().front().reason, "late by 3 s");
}

TEST(HealthLedger, AtItsBoundWhoIsHealthyLongestMakesRoom) {
    HealthLedger ledger({.records_max = 3});
    Instant now{1};
    auto const see = [&](u64 id, const Finding& finding) {
        return ledger.observe(Subject::corelet(CoreletId(id)), HealthLevel::kServing, finding, now,
                              WallTime{now.ns});
    };
    for (u64 id : {1U, 2U, 3U}) (void)see(id, Finding::degraded("late"));
    EXPECT_FALSE(see(4, Finding::degraded("late")));
    EXPECT_EQ(ledger.overlooked(), 1U);
    (void)see(2, Finding::healthy());
    now = now + 6_s;
    ASSERT_TRUE(see(2, Finding::healthy()));
    EXPECT_TRUE(see(4, Finding::degraded("late")));
    EXPECT_EQ(ledger.records().size(), 3U);
}

TEST(HealthLedger, ALookAroundTellsOfEverybody) {
    HealthLedger ledger({});
    Instant now{1};
    Subject const a = Subject::device(CoreletId(1)), b = Subject::pool("p");
    Findings first;
    first.add(a, HealthLevel::kStoring, Finding::degraded("slow"));
    first.add(a, HealthLevel::kStoring, Finding::failed("broken"));
    first.add(a, HealthLevel::kStoring, Finding::healthy());
    first.add(b, HealthLevel::kStoring, Finding::degraded("moving"));
    auto const changes = ledger.observe(first, now, WallTime{});
    ASSERT_EQ(changes.size(), 2U);
    EXPECT_EQ(changes[1].to, HealthState::kFailed) << "the worst of what is seen";
    Findings next;
    next.leave_open(a, HealthLevel::kStoring);
    for (int i = 0; i < 20; ++i) {
        now = now + 500_ms;
        for (const HealthChange& change : ledger.observe(next, now, WallTime{})) EXPECT_EQ(change.subject, b);
    }
    EXPECT_EQ(ledger.state(a, HealthLevel::kStoring), HealthState::kFailed) << "nobody could tell";
    EXPECT_EQ(ledger.state(b, HealthLevel::kStoring), HealthState::kHealthy) << "not found wanting any more";
    ledger.forget(a, HealthLevel::kServing);
    EXPECT_EQ(ledger.records().size(), 2U);
    ledger.forget(a, HealthLevel::kStoring);
    EXPECT_EQ(ledger.records().size(), 1U);
}

}  // namespace
}  // namespace corelet
