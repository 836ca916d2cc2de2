#include "node/outside_catalog.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

TEST(OutsideCatalog, NamesTheMembersOfAnEtcd) {
    auto const one = parse_outside_catalog("etcd:127.0.0.1:2379", false);
    ASSERT_TRUE(one);
    EXPECT_EQ(*one, std::vector<Address>{Address::tcp("127.0.0.1", 2379)});
    auto const three = parse_outside_catalog("etcd:a.example:1,10.0.0.2:2379,[fd00::1]:3", true);
    ASSERT_TRUE(three);
    ASSERT_EQ(three->size(), 3U);
    EXPECT_EQ((*three)[0], Address::tcp("a.example", 1));
    EXPECT_EQ((*three)[2], Address::tcp("fd00::1", 3));
}

TEST(OutsideCatalog, WhatIsNoneIsRefusedWithWhatOneLooksLike) {
    struct Case {
        const char* text;
        Code code;
        const char* said;
    };
    for (const Case& each : std::vector<Case>{{"127.0.0.1:2379", Code::kInvalid, "etcd:HOST:PORT"},
                                              {"", Code::kInvalid, "etcd:HOST:PORT"},
                                              {"etcd:", Code::kInvalid, "HOST:PORT"},
                                              {"etcd:localhost", Code::kInvalid, "HOST:PORT"},
                                              {"etcd:localhost:0", Code::kInvalid, "HOST:PORT"},
                                              {"etcd:localhost:70000", Code::kInvalid, "not a port"},
                                              {"etcd:localhost:1,", Code::kInvalid, "HOST:PORT"},
                                              {"etcd:unix:/tmp/x", Code::kInvalid, "HOST:PORT"},
                                              {"etcd:10.0.0.1:2379", Code::kDenied, "--insecure"}}) {
        auto const refused = parse_outside_catalog(each.text, false);
        ASSERT_FALSE(refused) << each.text;
        EXPECT_EQ(refused.error().code, each.code) << each.text;
        EXPECT_NE(refused.error().message.find(each.said), std::string::npos) << refused.error().message;
    }
}

}  // namespace
}  // namespace corelet
