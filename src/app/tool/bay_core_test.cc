#include "app/tool/bay_core.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/assert.h"

namespace corelet::app {
namespace {

// A keeper by hand: what it asks for is kept until the test answers.
class BayCoreTest : public ::testing::Test {
  protected:
    static BaySeen device(u64 number, u64 size = 1 << 30) { return {DeviceMark{1, number, size}, {}}; }

    void give(BayEvent event) {
        for (BayEffect& effect : core_.step(std::move(event), now_)) {
            if (auto* told = std::get_if<TellOfBay>(&effect))
                told_.push_back(told->bay + " " + told->event);
            else
                asked_.push_back(std::move(effect));
        }
    }
    // One round of the keeper's loop.
    void survey(Duration later = 250_ms) {
        now_ = now_ + later;
        give(BaysSurveyed{folder_});
    }
    template <class Effect>
    Effect asked() {
        CORELET_ASSERT(!asked_.empty() && std::holds_alternative<Effect>(asked_.front()));
        Effect out = std::get<Effect>(asked_.front());
        asked_.erase(asked_.begin());
        return out;
    }
    bool is_idle() const { return asked_.empty(); }
    BayState state(const std::string& bay = "a") const { return core_.bays().at(bay).state; }
    void find(BayHolds holds, const std::string& bay = "a", int pid = 0) {
        give(BayLookedAt{bay, {holds, "words", pid}});
    }
    // From an empty bay to one whose corelet runs as `pid`.
    void serve(const std::string& bay, u64 number, int pid) {
        folder_[bay] = device(number);
        survey();
        survey();
        ASSERT_EQ(asked<LookAtBay>().bay, bay);
        find(BayHolds::kMember, bay);
        ASSERT_EQ(asked<StartBay>().bay, bay);
        give(BayStarted{bay, pid, {}});
        ASSERT_EQ(state(bay), BayState::kServing);
    }

    BayCore core_;
    Instant now_{1'000'000'000};
    std::map<std::string, BaySeen> folder_;
    std::vector<BayEffect> asked_;
    std::vector<std::string> told_;
};

TEST_F(BayCoreTest, ABlankDeviceIsMadeAndServed) {
    folder_["a"] = device(7);
    survey();
    EXPECT_TRUE(is_idle()) << "it may still be written";
    survey();
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
    find(BayHolds::kBlank);
    EXPECT_EQ(asked<MakeBay>().bay, "a");
    give(BayMade{"a", {}});
    EXPECT_EQ(asked<StartBay>().bay, "a");
    give(BayStarted{"a", 100, {}});
    EXPECT_EQ(state(), BayState::kServing);
    survey();
    EXPECT_TRUE(is_idle());
}

TEST_F(BayCoreTest, AFileThatGrowsIsWaitedFor) {
    for (u64 size = 1; size <= 4; ++size) {
        folder_["a"] = device(7, size << 20);
        survey();
        EXPECT_TRUE(is_idle()) << size;
    }
    survey();
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
}

TEST_F(BayCoreTest, AServedFileMayGrow) {
    serve("a", 7, 100);
    folder_["a"] = device(7, 8ULL << 30);
    survey();
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(state(), BayState::kServing);
}

TEST_F(BayCoreTest, WhatIsUnknownIsNeverMadeNorStarted) {
    folder_["a"] = device(7);
    survey();
    survey();
    (void)asked<LookAtBay>();
    find(BayHolds::kForeign);
    EXPECT_EQ(state(), BayState::kLeftAlone);
    for (int i = 0; i < 100; ++i) survey(1_s);
    // Looked at again, and nothing else, and said once.
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
    EXPECT_TRUE(is_idle());
    find(BayHolds::kForeign);
    EXPECT_EQ(std::ranges::count(told_, "a bay.left_alone"), 1);
    // Somebody emptied it.
    survey(31_s);
    (void)asked<LookAtBay>();
    find(BayHolds::kBlank);
    EXPECT_EQ(asked<MakeBay>().bay, "a");
}

TEST_F(BayCoreTest, WhatIsNoDeviceIsNotEvenLookedAt) {
    folder_["a"] = BaySeen{DeviceMark{1, 7, 0}, "is a folder"};
    for (int i = 0; i < 100; ++i) survey(1_s);
    EXPECT_TRUE(is_idle());
    EXPECT_EQ(state(), BayState::kLeftAlone);
    EXPECT_EQ(core_.bays().at("a").words, "is a folder");
}

TEST_F(BayCoreTest, ADeviceThatGoesTakesItsProcessAlongAtOnce) {
    serve("a", 7, 100);
    folder_.clear();
    survey();
    auto const ended = asked<EndBay>();
    EXPECT_EQ(ended.pid, 100);
    EXPECT_TRUE(ended.at_once);
    survey();
    EXPECT_TRUE(is_idle());
    give(BayEnded{"a", 100});
    EXPECT_TRUE(core_.bays().empty());
}

TEST_F(BayCoreTest, AnotherDeviceInTheSameBayIsAnotherCorelet) {
    serve("a", 7, 100);
    folder_["a"] = device(8);
    survey();
    EXPECT_TRUE(asked<EndBay>().at_once);
    survey();
    EXPECT_TRUE(is_idle()) << "not before the old process is gone";
    give(BayEnded{"a", 100});
    survey();
    survey();
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
}

TEST_F(BayCoreTest, WhatIsUnderWayWhenADeviceGoesCountsForNothing) {
    folder_["a"] = device(7);
    survey();
    survey();
    (void)asked<LookAtBay>();
    folder_.clear();
    survey();
    find(BayHolds::kBlank);
    EXPECT_TRUE(is_idle()) << "nothing is made of a device that is gone";
    EXPECT_TRUE(core_.bays().empty());

    folder_["a"] = device(8);
    survey();
    survey();
    (void)asked<LookAtBay>();
    find(BayHolds::kMember);
    (void)asked<StartBay>();
    folder_["a"] = device(9);
    survey();
    give(BayStarted{"a", 101, {}});
    EXPECT_EQ(asked<EndBay>().pid, 101) << "it was started for the device before";
    give(BayEnded{"a", 101});
    survey();
    survey();
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
}

TEST_F(BayCoreTest, ACoreletThatDiesIsStartedAgainAfterGrowingPauses) {
    serve("a", 7, 100);
    std::vector<i64> pauses;
    for (int pid = 100; pid < 110; ++pid) {
        give(BayEnded{"a", pid});
        Instant const died = now_;
        while (is_idle()) survey(100_ms);
        pauses.push_back((now_ - died).ms());
        (void)asked<LookAtBay>();
        find(BayHolds::kMember);
        (void)asked<StartBay>();
        give(BayStarted{"a", pid + 1, {}});
    }
    EXPECT_EQ(pauses, (std::vector<i64>{500, 1'000, 2'000, 4'000, 8'000, 16'000, 30'000, 30'000, 30'000, 30'000}));
    // It has proven itself: the next pause is a short one again.
    survey(61_s);
    give(BayEnded{"a", 110});
    survey(500_ms);
    EXPECT_EQ(asked<LookAtBay>().bay, "a");
}

TEST_F(BayCoreTest, OneThatCannotBeMadeOrStartedIsTriedAgainLater) {
    folder_["a"] = device(7);
    survey();
    survey();
    (void)asked<LookAtBay>();
    find(BayHolds::kBlank);
    (void)asked<MakeBay>();
    give(BayMade{"a", "no space"});
    EXPECT_EQ(state(), BayState::kPausing);
    EXPECT_EQ(core_.bays().at("a").words, "no space");
    survey(500_ms);
    (void)asked<LookAtBay>();
    find(BayHolds::kMember);
    (void)asked<StartBay>();
    give(BayStarted{"a", 0, "no memory"});
    EXPECT_EQ(state(), BayState::kPausing);
    survey(900_ms);
    EXPECT_TRUE(is_idle());
    survey(100_ms);
    (void)asked<LookAtBay>();
}

TEST_F(BayCoreTest, OneThatRunsAlreadyIsTakenOver) {
    folder_["a"] = device(7);
    survey();
    survey();
    (void)asked<LookAtBay>();
    find(BayHolds::kServed, "a", 55);
    EXPECT_EQ(state(), BayState::kServing);
    EXPECT_TRUE(is_idle());
    give(BayEnded{"a", 55});
    EXPECT_EQ(state(), BayState::kPausing);
}

TEST_F(BayCoreTest, TheyEndOneAfterTheOther) {
    serve("a", 7, 100);
    serve("b", 8, 101);
    give(KeeperStops{});
    auto first = asked<EndBay>();
    EXPECT_EQ(first.pid, 100);
    EXPECT_FALSE(first.at_once);
    survey();
    EXPECT_TRUE(is_idle());
    EXPECT_FALSE(core_.is_done());
    give(BayEnded{"a", 100});
    EXPECT_EQ(asked<EndBay>().pid, 101);
    // One that does not is killed.
    survey(5_s);
    EXPECT_TRUE(asked<EndBay>().at_once);
    give(BayEnded{"b", 101});
    EXPECT_TRUE(core_.is_done());
    EXPECT_TRUE(is_idle());
}

TEST_F(BayCoreTest, NothingBeginsOnceItIsToStop) {
    folder_["a"] = device(7);
    folder_["b"] = device(8);
    survey();
    survey();
    (void)asked<LookAtBay>();
    (void)asked<LookAtBay>();
    find(BayHolds::kBlank, "a");
    (void)asked<MakeBay>();
    give(KeeperStops{});
    find(BayHolds::kBlank, "b");
    EXPECT_FALSE(core_.is_done()) << "a device is being formatted";
    give(BayMade{"a", {}});
    EXPECT_TRUE(core_.is_done());
    for (int i = 0; i < 100; ++i) survey(1_s);
    EXPECT_TRUE(is_idle());
}

}  // namespace
}  // namespace corelet::app
