#include <gtest/gtest.h>

#include "chunk/peer_book.h"

namespace corelet {
namespace {

constexpr CoreletId k_peer{7};

TEST(RecentLatency, P95IsWithinAFifthOfTheTruth) {
    for (i64 const scale : {1, 10, 1000}) {
        RecentLatency took;
        for (i64 i = 1; i <= 400; ++i) took.add(Duration{i * scale * 1'000'000 / 10});
        Duration const truth{380 * scale * 1'000'000 / 10};
        if (truth > 16_s) continue;
        EXPECT_GE(took.p95(), truth);
        EXPECT_LE(took.p95().ns, truth.ns * 5 / 4);
    }
}

TEST(RecentLatency, EdgesAreKept) {
    RecentLatency took;
    EXPECT_EQ(took.p95(), Duration{});
    took.add(Duration{-5});
    took.add(Duration{});
    EXPECT_EQ(took.p95(), 64_us);
    took.add(k_forever);
    EXPECT_GE(took.p95(), 10_s);
}

TEST(RecentLatency, WhatIsOldFades) {
    RecentLatency took;
    for (int i = 0; i < 500; ++i) took.add(100_ms);
    for (int i = 0; i < 4000; ++i) took.add(1_ms);
    EXPECT_LE(took.p95(), 2_ms);
}

// One question and its end.
void answer(PeerBook& book, u64 bytes, Duration took, Instant& now) {
    PeerBook::Question question(book, k_peer, bytes, now);
    now = now + took;
    question.answered(now);
}

TEST(PeerBook, PatienceIsP95WithinBounds) {
    PeerBook book({});
    Instant now{};
    EXPECT_EQ(book.patience(k_peer, 4096), 20_ms) << "nothing known";
    for (int i = 0; i < 100; ++i) answer(book, 4096, 100_us, now);
    EXPECT_EQ(book.patience(k_peer, 4096), 2_ms) << "nobody is hurried more";
    EXPECT_EQ(book.patience(k_peer, k_mib), 20_ms) << "large answers are another matter";
    for (int i = 0; i < 100; ++i) answer(book, k_mib, 40_ms, now);
    EXPECT_GE(book.patience(k_peer, k_mib), 40_ms);
    EXPECT_LE(book.patience(k_peer, k_mib), 50_ms);
    for (int i = 0; i < 1000; ++i) answer(book, k_mib, 10_s, now);
    EXPECT_EQ(book.patience(k_peer, k_mib), 500_ms);
}

// It owes answers and gives none: whoever comes next need not wait until a deadline has passed.
TEST(PeerBook, SilenceIsSuspectBeforeItIsAFailure) {
    PeerBook book({});
    Instant now{1'000'000'000};
    for (int i = 0; i < 100; ++i) answer(book, 4096, 1_ms, now);
    {
        PeerBook::Question const first(book, k_peer, 4096, now);
        PeerBook::Question second(book, k_peer, 4096, now + 30_ms);
        EXPECT_FALSE(book.is_suspect(k_peer, now + 49_ms));
        EXPECT_TRUE(book.is_suspect(k_peer, now + 50_ms));
        EXPECT_FALSE(book.try_now(k_peer, now + 50_ms));
        second.answered(now + 60_ms);
        EXPECT_FALSE(book.is_suspect(k_peer, now + 109_ms)) << "it has spoken";
        EXPECT_TRUE(book.is_suspect(k_peer, now + 110_ms)) << "and still owes one";
    }
    EXPECT_FALSE(book.is_suspect(k_peer, now + 10_s)) << "nobody asks anything";
}

TEST(PeerBook, OneThatIsSlowByHabitIsNotSilent) {
    PeerBook book({});
    Instant now{};
    for (int i = 0; i < 100; ++i) answer(book, k_mib, 80_ms, now);
    PeerBook::Question const question(book, k_peer, 4096, now);
    EXPECT_FALSE(book.is_suspect(k_peer, now + 300_ms));
    EXPECT_TRUE(book.is_suspect(k_peer, now + 500_ms));
}

TEST(PeerBook, OneReaderAtATimeFindsOutWhetherItIsBack) {
    PeerBook book({});
    Instant now{1'000'000'000};
    EXPECT_TRUE(book.try_now(k_peer, now));
    PeerBook::Question(book, k_peer, 4096, now).failed(now);
    EXPECT_TRUE(book.is_suspect(k_peer, now));
    EXPECT_FALSE(book.try_now(k_peer, now + 249_ms));
    now = now + 250_ms;
    EXPECT_TRUE(book.try_now(k_peer, now)) << "the probe";
    EXPECT_FALSE(book.try_now(k_peer, now)) << "others wait for what it brings";
    answer(book, 4096, 1_ms, now);
    EXPECT_TRUE(book.try_now(k_peer, now));
    EXPECT_FALSE(book.is_suspect(k_peer, now));
}

TEST(PeerBook, SuspicionGrowsWithFailuresButReadsTogetherAreOne) {
    PeerBook book({});
    Instant now{};
    Duration last{};
    for (int failure = 0; failure < 8; ++failure) {
        for (int together = 0; together < 16; ++together) PeerBook::Question(book, k_peer, 4096, now).failed(now);
        Instant const from = now;
        while (book.is_suspect(k_peer, now)) now = now + 10_ms;
        EXPECT_GE(now - from, last);
        EXPECT_LE(now - from, 4010_ms);
        last = now - from;
    }
    EXPECT_GE(last, 4_s);
}

TEST(PeerBook, WithASlowOneNoLongerThanWithOthers) {
    PeerBook book({});
    Instant now{};
    for (int i = 0; i < 100; ++i) answer(book, 4096, 50_ms, now);
    EXPECT_GE(book.patience(k_peer, 4096), 50_ms);
    book.set_slow({k_peer});
    EXPECT_TRUE(book.is_slow(k_peer));
    EXPECT_GE(book.patience(k_peer, 4096), 50_ms) << "nobody else was asked yet";
    for (u64 id : {11U, 12U, 13U})
        for (int i = 0; i < 100; ++i) {
            PeerBook::Question question(book, CoreletId(id), 4096, now);
            now = now + 8_ms;
            question.answered(now);
        }
    EXPECT_LT(book.patience(k_peer, 4096), 10_ms);
    EXPECT_GE(book.patience(k_peer, 4096), 8_ms);
    EXPECT_FALSE(book.is_suspect(k_peer, now)) << "it is asked all the same";
    book.set_slow({});
    EXPECT_GE(book.patience(k_peer, 4096), 50_ms);
}

TEST(HedgeBudget, OneReadOfTwentyFiveIsSentTwice) {
    HedgeBudget budget;
    int taken = 0;
    while (budget.take()) ++taken;
    EXPECT_EQ(taken, 16);
    for (int i = 0; i < 1000; ++i) {
        budget.read_begins();
        if (budget.take()) ++taken;
    }
    EXPECT_EQ(taken, 16 + 40);
}

}  // namespace
}  // namespace corelet
