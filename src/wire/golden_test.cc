// The bytes of frames of version 1, for ever (docs/format/wire.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "wire/frame.h"

namespace corelet {
namespace {

using testing::from_golden;
using testing::golden;

std::string encoded(u64 correlation, const FrameHeader& header, Bytes body, Bytes payload) {
    FrameEncoder encoder;
    BufferChain chain;
    if (!payload.empty()) chain.append(Buffer::copy_of(payload));
    encoder.add(correlation, header, Buffer::copy_of(body), chain, {});
    return golden(encoder.take().flatten());
}

Frame parsed(std::string_view text) {
    auto const bytes = from_golden(text);
    FrameParser parser{FrameLimits{}};
    for (usize at = 0; at < bytes.size();) {
        auto next = parser.next();
        CORELET_ASSERT(next && !*next);
        FrameParser::Space space = parser.space();
        usize const take = std::min(space.target.size() - space.offset, bytes.size() - at);
        std::memcpy(space.target.mutable_data() + space.offset, bytes.data() + at, take);
        at += take;
        parser.filled(take);
    }
    auto frame = parser.next();
    CORELET_ASSERT(frame && *frame);
    return std::move(**frame);
}

TEST(FrameGolden, Request) {
    constexpr std::string_view k_bytes =
        "434c545701000000 1500000004000000 0700000018171615 141312115d35ecef 080210820e180220 88272d7069e3f430 "
        "ac02388020626f64 797061796c6f6164";
    FrameHeader header;
    header.kind = FrameKind::kRequest;
    header.method = Method(0x0702);
    header.traffic = TrafficClass::kClient;
    header.deadline_ms = 5000;
    header.map_epoch = MapEpoch(300);
    header.reply_bytes_expected = 4096;
    EXPECT_EQ(encoded(0x1112131415161718, header, as_bytes("body"), as_bytes("payload")), k_bytes);
    Frame const frame = parsed(k_bytes);
    EXPECT_EQ(frame.version, 1);
    EXPECT_EQ(frame.correlation, 0x1112131415161718U);
    EXPECT_EQ(frame.header.method, header.method);
    EXPECT_EQ(frame.header.deadline_ms, 5000U);
    EXPECT_EQ(frame.header.map_epoch, header.map_epoch);
    EXPECT_EQ(as_text(frame.body), "body");
    EXPECT_EQ(as_text(frame.payload), "payload");
    EXPECT_TRUE(frame.payload_verifies());
}

TEST(FrameGolden, FailureAndCancel) {
    constexpr std::string_view k_failure =
        "434c545701000000 19 00*11 0700000000000000 3caa95c908031802 4213080710061a0d 61206e6577657220 6f776e6572";
    FrameHeader failure;
    failure.kind = FrameKind::kResponse;
    failure.failure = Error{Code::kFenced, false, 6, "a newer owner"};
    EXPECT_EQ(encoded(7, failure, {}, {}), k_failure);
    Frame const frame = parsed(k_failure);
    ASSERT_TRUE(frame.header.failure);
    EXPECT_EQ(frame.header.failure->code, Code::kFenced);
    EXPECT_EQ(frame.header.failure->detail, 6U);
    EXPECT_EQ(frame.header.failure->message, "a newer owner");
    constexpr std::string_view k_cancel = "434c545701000000 02 00*11 0700000000000000 acd95c770804";
    FrameHeader cancel;
    cancel.kind = FrameKind::kCancel;
    EXPECT_EQ(encoded(7, cancel, {}, {}), k_cancel);
    EXPECT_EQ(parsed(k_cancel).header.kind, FrameKind::kCancel);
}

TEST(FrameGolden, Hello) {
    constexpr std::string_view k_bytes =
        "0801100118012002 2908070605040302 0131181716151413 1211380341282726 252423222148e807 5005584060808040";
    Hello hello;
    hello.role = PeerRole::kCorelet;
    hello.lane = Lane::kBulk;
    hello.mesh = MeshId(0x0102030405060708);
    hello.corelet = CoreletId(0x1112131415161718);
    hello.incarnation = Incarnation(3);
    hello.boot_nonce = 0x2122232425262728;
    hello.durable_sequence = 1000;
    hello.map_epoch = MapEpoch(5);
    hello.window_requests = 64;
    hello.window_bytes = 1 << 20;
    EXPECT_EQ(golden(encode_hello(hello)), k_bytes);
    auto const read = decode_hello(from_golden(k_bytes));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, hello);
}

}  // namespace
}  // namespace corelet
