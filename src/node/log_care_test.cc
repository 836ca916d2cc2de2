#include "node/log_care.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr CoreletId k_a{1}, k_b{2}, k_c{3};

pb::Segment& add(pb::Stream& stream, u64 seq, pb::Segment::State state, u64 end_bytes,
                 const std::vector<CoreletId>& replicas) {
    pb::Segment& segment = *stream.add_segments();
    segment.set_seq(seq);
    segment.set_state(state);
    segment.set_end_bytes(end_bytes);
    for (CoreletId id : replicas) segment.add_replicas(id.v);
    return segment;
}

// One ended at 8192, one open with 4096 acknowledged, one standby.
struct SomeLog {
    pb::Stream stream;
    OpenLog open{12, 4096};
    LogSights sights;
    SomeLog() {
        add(stream, 11, pb::Segment::ENDED, 8192, {k_a, k_b});
        add(stream, 12, pb::Segment::LISTED, 0, {k_b, k_c});
        add(stream, 13, pb::Segment::LISTED, 0, {k_a, k_c});
        sights[11] = {{k_a, {true, 8192, false}}, {k_b, {true, 12288, false}}};
        sights[12] = {{k_b, {true, 4096, false}}, {k_c, {true, 8192, false}}};
        sights[13] = {{k_a, {true, 0, false}}, {k_c, {true, 0, false}}};
    }
    [[nodiscard]] std::vector<LogFinding> judged(unsigned width = 2) const {
        return judge_log(stream, open, width, sights);
    }
};

TEST(LogCare, WhatIsWholeIsFoundWhole) {
    auto const found = SomeLog().judged();
    ASSERT_EQ(found.size(), 3U);
    for (const LogFinding& each : found) {
        EXPECT_EQ(each.found(), 0U) << each.seq;
        EXPECT_EQ(each.present, 2U) << each.seq;
    }
    EXPECT_EQ(found[0].use, LogFinding::Use::kEnded);
    EXPECT_EQ(found[1].use, LogFinding::Use::kOpen);
    EXPECT_EQ(found[2].use, LogFinding::Use::kStandby);
}

TEST(LogCare, WhoHasItNotHasItNot) {
    SomeLog log;
    log.sights[11][k_a].here = false;
    log.sights[12][k_c] = {true, 0, false};  // less than was acknowledged
    log.sights[13][k_a].here = false;
    auto const found = log.judged();
    EXPECT_EQ(found[0].missing, std::vector{k_a});
    EXPECT_EQ(found[1].missing, std::vector{k_c});
    EXPECT_EQ(found[2].missing, std::vector{k_a});
    for (const LogFinding& each : found) EXPECT_EQ(each.present, 1U);
}

TEST(LogCare, WhatWasReadAndIsTooShortIsDamaged) {
    SomeLog log;
    log.sights[11][k_b] = {true, 4096, true};
    log.sights[12][k_b] = {true, 4096, true};
    auto const found = log.judged();
    EXPECT_EQ(found[0].damaged, std::vector{k_b});
    EXPECT_TRUE(found[0].missing.empty());
    EXPECT_EQ(found[1].found(), 0U) << "beyond what is acknowledged nothing need be there";
}

TEST(LogCare, SilenceIsNoAbsence) {
    SomeLog log;
    log.sights.erase(11);
    log.sights[12].erase(k_c);
    auto const found = log.judged();
    EXPECT_EQ(found[0].unseen, (std::vector{k_a, k_b}));
    EXPECT_EQ(found[1].unseen, std::vector{k_c});
    EXPECT_TRUE(found[0].missing.empty());
}

TEST(LogCare, NarrowOnesLackCopiesButStandbysMayBeNarrow) {
    auto const found = SomeLog().judged(3);
    EXPECT_EQ(found[0].narrow, 1U);
    EXPECT_EQ(found[1].narrow, 1U);
    EXPECT_EQ(found[2].narrow, 0U);
}

}  // namespace
}  // namespace corelet
