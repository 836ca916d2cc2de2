#include "catalog/etcd/http_parser.h"

#include <gtest/gtest.h>

namespace corelet::etcd {
namespace {

constexpr std::string_view k_plain = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
constexpr std::string_view k_chunked =
    "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";

TEST(HttpParser, TakesAnAnswerHoweverItIsCut) {
    for (std::string_view const whole : {k_plain, k_chunked}) {
        for (usize cut = 0; cut <= whole.size(); ++cut) {
            HttpParser parser(100);
            ASSERT_TRUE(parser.feed(as_bytes(whole.substr(0, cut))));
            EXPECT_EQ(parser.is_done(), cut == whole.size());
            ASSERT_TRUE(parser.feed(as_bytes(whole.substr(cut))));
            ASSERT_TRUE(parser.is_done()) << "cut at " << cut;
            EXPECT_EQ(parser.body(), "hello");
            EXPECT_EQ(parser.status(), whole == k_plain ? 200U : 404U);
            EXPECT_TRUE(parser.keeps_alive());
        }
        HttpParser bytewise(100);
        for (char c : whole) ASSERT_TRUE(bytewise.feed(as_bytes(std::string_view(&c, 1))));
        EXPECT_TRUE(bytewise.is_done());
        EXPECT_EQ(bytewise.body(), "hello");
    }
}

TEST(HttpParser, AStreamIsTakenAsItComes) {
    HttpParser parser(100);
    ASSERT_TRUE(parser.feed(as_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nline1\n\r\n")));
    EXPECT_TRUE(parser.has_header());
    EXPECT_EQ(std::exchange(parser.body(), {}), "line1\n");
    for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(parser.feed(as_bytes("6\r\nline2\n\r\n")));
        EXPECT_EQ(std::exchange(parser.body(), {}), "line2\n") << "what was taken counts no more against the bound";
    }
    EXPECT_FALSE(parser.is_done());
    EXPECT_EQ(parser.end().error().code, Code::kClosed);
}

TEST(HttpParser, ABodyWithoutLengthEndsWithTheConnection) {
    HttpParser parser(100);
    ASSERT_TRUE(parser.feed(as_bytes("HTTP/1.0 200 OK\r\n\r\nhel")));
    ASSERT_TRUE(parser.feed(as_bytes("lo")));
    EXPECT_FALSE(parser.is_done());
    ASSERT_TRUE(parser.end());
    EXPECT_EQ(parser.body(), "hello");
    EXPECT_FALSE(parser.keeps_alive());
}

TEST(HttpParser, WhatIsNoAnswerOrTooLargeIsAnError) {
    HttpParser greeting(100);
    EXPECT_EQ(greeting.feed(as_bytes("SSH-2.0-OpenSSH_9.2\r\n")).error().code, Code::kCorrupt);
    HttpParser large(4);
    EXPECT_EQ(large.feed(as_bytes(k_plain)).error().code, Code::kOverloaded);
    HttpParser half(100);
    ASSERT_TRUE(half.feed(as_bytes(k_plain.substr(0, 20))));
    EXPECT_EQ(half.end().error().code, Code::kClosed);
    HttpParser last(100);
    ASSERT_TRUE(last.feed(as_bytes("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")));
    EXPECT_TRUE(last.is_done());
    EXPECT_FALSE(last.keeps_alive());
}

}  // namespace
}  // namespace corelet::etcd
