#include "node/healing_limit.h"

#include <gtest/gtest.h>

#include "base/time.h"
#include "node/audit_record.h"

namespace corelet {
namespace {

TEST(HealingLimit, KeptAsWritten) {
    HealingLimit const limit{50'000'000, 200'000'000};
    EXPECT_EQ(decode_limit(encode_limit(limit)), limit);
    EXPECT_EQ(decode_limit(encode_limit({})), HealingLimit{});
    EXPECT_EQ(decode_limit("\xFFnothing"), std::nullopt);
}

TEST(AuditRecord, WhoFailedIsToldForAWhile) {
    AuditRecord record;
    Instant const now{1'000'000'000'000};
    EXPECT_TRUE(record.findings(now).empty());
    record.failed(CoreletId(4), "1/2.3: it says that it has the bytes, and does not", now);
    record.failed(CoreletId(4), "1/5.3: it has not the bytes that it should have", now + 60_s);
    auto const found = record.findings(now + 61_s);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(
        found.at(CoreletId(4)),
        Finding::degraded("it failed 2 audits, the last over 1/5.3: it has not the bytes that it should have"));
    EXPECT_TRUE(record.findings(now + 660_s).empty());
}

}  // namespace
}  // namespace corelet
