#include "node/request_watch.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr CoreletId k_self{1}, k_peer{2};

struct Desk {
    RequestWatch watch{k_self, RequestWatch::Options{}};
    Instant now{1'000'000'000};
    u64 begin(RequestNeed need, CoreletId peer = k_peer) { return watch.request_began(peer, need, now); }
    void end(u64 request, RequestEnd how = RequestEnd::kAnswered) { watch.request_ended(request, how, now); }
    // Looked at all the while.
    void pass(Duration time) {
        for (Instant const end = now + time; now < end;) {
            now = std::min(end, now + 100_ms);
            (void)watch.judge(now);
        }
    }
    RequestWatch::Judgement judge(CoreletId peer = k_peer) {
        for (auto& judgement : watch.judge(now))
            if (judgement.peer == peer) return judgement;
        return RequestWatch::Judgement{peer, Finding::healthy(), Finding::healthy()};
    }
    HealthState serving() { return judge().serving.state; }
    std::optional<HealthState> storing(CoreletId peer = k_peer) {
        auto const judgement = judge(peer);
        return judgement.storing ? std::optional(judgement.storing->state) : std::nullopt;
    }
};

TEST(RequestWatch, WhoAnswersInTimeIsHealthy) {
    Desk desk;
    for (int i = 0; i < 100; ++i) {
        u64 const loop = desk.begin(RequestNeed::kLoop), device = desk.begin(RequestNeed::kDevice);
        desk.pass(499_ms);
        EXPECT_EQ(desk.serving(), HealthState::kHealthy);
        desk.end(loop);
        desk.end(device);
    }
    EXPECT_EQ(desk.storing(), HealthState::kHealthy);
    EXPECT_TRUE(desk.watch.judge(desk.now).empty()) << "nothing is kept of it";
}

TEST(RequestWatch, ADeadlineThatPassesIsNoticedWhileItIsOwed) {
    Desk desk;
    u64 const request = desk.begin(RequestNeed::kLoop);
    desk.pass(600_ms);
    auto const judgement = desk.judge();
    EXPECT_EQ(judgement.serving, Finding::degraded("no request was answered for 600 ms"));
    EXPECT_EQ(judgement.storing, std::nullopt) << "of its device nothing can be told";
    desk.end(request);
    EXPECT_EQ(desk.serving(), HealthState::kHealthy) << "one is no habit";
}

TEST(RequestWatch, WithoutAnyAnswerItHasFailed) {
    Desk desk;
    for (int i = 0; i < 12; ++i) {
        u64 const request = desk.begin(RequestNeed::kLoop);
        desk.pass(1_s);
        EXPECT_EQ(desk.serving(), i < 9 ? HealthState::kDegraded : HealthState::kFailed) << i;
        desk.end(request, RequestEnd::kUnanswered);
    }
    u64 const request = desk.begin(RequestNeed::kLoop);
    desk.end(request);
    EXPECT_EQ(desk.serving(), HealthState::kDegraded) << "it passed many a deadline lately";
    desk.pass(11_s);
    EXPECT_EQ(desk.serving(), HealthState::kHealthy);
}

TEST(RequestWatch, ABrokenConnectionIsNoAnswerAtOnce) {
    Desk desk;
    u64 const request = desk.begin(RequestNeed::kLoop);
    desk.pass(1_ms);
    desk.end(request, RequestEnd::kUnanswered);
    EXPECT_EQ(desk.serving(), HealthState::kDegraded);
}

TEST(RequestWatch, WhatItsAskerDroppedSaysNothing) {
    Desk desk;
    u64 const request = desk.begin(RequestNeed::kDevice);
    desk.pass(499_ms);
    desk.end(request, RequestEnd::kDropped);
    desk.pass(1_s);
    EXPECT_EQ(desk.storing(), HealthState::kHealthy);
}

TEST(RequestWatch, TheDeviceIsAccusedOnlyWhenTheProcessAnswers) {
    Desk desk;
    (void)desk.begin(RequestNeed::kDevice);
    desk.pass(600_ms);
    EXPECT_EQ(desk.storing(), std::nullopt);
    EXPECT_EQ(desk.watch.doubtful(desk.now), std::vector<CoreletId>{k_peer});
    u64 const question = desk.begin(RequestNeed::kLoop);
    EXPECT_TRUE(desk.watch.doubtful(desk.now).empty()) << "it is being asked";
    desk.pass(1_ms);
    desk.end(question);
    EXPECT_EQ(desk.storing(), HealthState::kDegraded);
    EXPECT_EQ(desk.serving(), HealthState::kHealthy);
}

TEST(RequestWatch, AProcessThatHangsIsNotItsDevicesFault) {
    Desk desk;
    u64 const before = desk.begin(RequestNeed::kLoop);
    (void)desk.begin(RequestNeed::kDevice);
    desk.end(before);  // sent before the one that waits: proves nothing
    desk.pass(600_ms);
    u64 const question = desk.begin(RequestNeed::kLoop);
    desk.pass(600_ms);
    EXPECT_EQ(desk.serving(), HealthState::kDegraded);
    EXPECT_EQ(desk.storing(), std::nullopt);
    desk.end(question);
    EXPECT_EQ(desk.storing(), HealthState::kDegraded);
}

TEST(RequestWatch, OnesOwnDeviceNeedsNoProof) {
    Desk desk;
    (void)desk.begin(RequestNeed::kDevice, k_self);
    desk.pass(600_ms);
    EXPECT_EQ(desk.storing(k_self), HealthState::kDegraded);
    EXPECT_TRUE(desk.watch.doubtful(desk.now).empty());
}

TEST(RequestWatch, WhoHungItselfAccusesNobody) {
    Desk desk;
    std::vector<u64> requests;
    for (int i = 0; i < 10; ++i) requests.push_back(desk.begin(RequestNeed::kLoop));
    desk.pass(100_ms);
    desk.now = desk.now + 3_s;
    for (usize i = 0; i < 5; ++i) desk.end(requests[i]);  // as they are found in the socket
    EXPECT_EQ(desk.serving(), HealthState::kHealthy);
    desk.pass(400_ms);
    EXPECT_EQ(desk.serving(), HealthState::kHealthy);
    desk.pass(200_ms);
    EXPECT_EQ(desk.serving(), HealthState::kDegraded) << "by now an answer should be there";
}

TEST(RequestWatch, WhatItWatchesIsBounded) {
    Desk desk;
    std::vector<u64> requests;
    for (int i = 0; i < 1000; ++i) requests.push_back(desk.begin(RequestNeed::kDevice));
    EXPECT_EQ(std::count(requests.begin(), requests.end(), 0U), 744);
    desk.pass(1_s);
    EXPECT_EQ(desk.storing(), std::nullopt);
    for (u64 request : requests) desk.end(request);
    EXPECT_EQ(desk.storing(), HealthState::kDegraded) << "256 late answers";
    desk.watch.forget(k_peer);
    EXPECT_TRUE(desk.watch.judge(desk.now).empty());
}

TEST(RequestWatch, AWatchedRequestEndsOnce) {
    Desk desk;
    {
        WatchedRequest request(&desk.watch, k_peer, RequestNeed::kLoop, desk.now);
        WatchedRequest moved(std::move(request));
        desk.pass(600_ms);
        EXPECT_EQ(desk.serving(), HealthState::kDegraded);
        moved.ended(RequestEnd::kAnswered, desk.now);
        EXPECT_EQ(desk.serving(), HealthState::kHealthy);
    }
    WatchedRequest unobserved(nullptr, k_peer, RequestNeed::kLoop, desk.now);
    unobserved.ended(RequestEnd::kUnanswered, desk.now);
    EXPECT_EQ(desk.serving(), HealthState::kHealthy);
}

}  // namespace
}  // namespace corelet
