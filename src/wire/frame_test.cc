#include "wire/frame.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/prng.h"

namespace corelet {
namespace {

struct Sent {
    u64 correlation = 0;
    FrameHeader header;
    Buffer body;
    BufferChain payload;
};

Buffer random_bytes(Prng& rng, usize size) {
    Buffer out = Buffer::allocate(size);
    for (u8& byte : out.mutable_bytes()) byte = static_cast<u8>(rng.next());
    return out;
}

Sent random_frame(Prng& rng) {
    static constexpr usize k_sizes[] = {0, 1, 100, 2048, 2049, 4095, 4096, 8192, 70'000};
    Sent sent;
    sent.correlation = rng.next();
    sent.header.kind = static_cast<FrameKind>(rng.between(1, 5));
    if (sent.header.kind == FrameKind::kCancel) return sent;
    sent.header.method = Method(static_cast<u16>(rng.next()));
    sent.header.traffic = static_cast<TrafficClass>(rng.between(1, 4));
    sent.header.deadline_ms = static_cast<u32>(rng.next());
    sent.header.map_epoch = MapEpoch(rng.next());
    sent.header.reply_bytes_expected = static_cast<u32>(rng.next());
    if (rng.chance(1, 4)) sent.header.failure = Error{Code::kFenced, false, rng.next(), "not \xff utf-8"};
    sent.body = random_bytes(rng, k_sizes[rng.below(std::size(k_sizes))]);
    for (u64 parts = rng.below(4); parts > 0; --parts)
        sent.payload.append(random_bytes(rng, k_sizes[rng.below(std::size(k_sizes))]));
    return sent;
}

std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

void expect_same(const Sent& sent, const Frame& got) {
    EXPECT_EQ(got.correlation, sent.correlation);
    EXPECT_EQ(got.header.kind, sent.header.kind);
    if (sent.header.kind != FrameKind::kCancel) {
        EXPECT_EQ(got.header.method, sent.header.method);
        EXPECT_EQ(got.header.traffic, sent.header.traffic);
        EXPECT_EQ(got.header.deadline_ms, sent.header.deadline_ms);
        EXPECT_EQ(got.header.map_epoch, sent.header.map_epoch);
        EXPECT_EQ(got.header.reply_bytes_expected, sent.header.reply_bytes_expected);
    }
    ASSERT_EQ(got.header.failure.has_value(), sent.header.failure.has_value());
    if (got.header.failure) {
        EXPECT_EQ(got.header.failure->code, sent.header.failure->code);
        EXPECT_EQ(got.header.failure->detail, sent.header.failure->detail);
        EXPECT_EQ(got.header.failure->message, sent.header.failure->message);
    }
    EXPECT_EQ(text_of(got.body), text_of(sent.body));
    EXPECT_EQ(text_of(got.payload), text_of(sent.payload.flatten()));
    EXPECT_TRUE(got.payload_verifies());
    if (got.payload.size() >= 4096) {
        EXPECT_TRUE(got.payload.is_aligned(4096));
    }
}

Buffer encode(const std::vector<Sent>& frames) {
    FrameEncoder encoder;
    for (const Sent& frame : frames) encoder.add(frame.correlation, frame.header, frame.body, frame.payload, {});
    return encoder.take().flatten();
}

// Feeds `bytes` in pieces of random size; calls `on_frame` for each; false if the parser refused the stream.
template <class F>
bool feed(FrameParser& parser, Bytes bytes, Prng& rng, usize piece_max, F&& on_frame) {
    for (;;) {
        auto frame = parser.next();
        if (!frame) return false;
        if (*frame) {
            on_frame(**frame);
            continue;
        }
        if (bytes.empty()) return true;
        auto space = parser.space();
        EXPECT_GE(space.at_least, 1U);
        EXPECT_LE(space.at_least, space.target.size() - space.offset);
        usize const piece = std::min({bytes.size(), space.target.size() - space.offset, 1 + rng.below(piece_max)});
        std::memcpy(space.target.mutable_data() + space.offset, bytes.data(), piece);
        parser.filled(piece);
        bytes = bytes.subspan(piece);
    }
}

TEST(FrameParser, AnySplitGivesTheSameFrames) {
    Prng rng(1);
    for (usize piece_max : {1UL, 7UL, 40UL, 5000UL, 1UL << 20}) {
        for (int round = 0; round < 12; ++round) {
            std::vector<Sent> sent;
            for (u64 n = 1 + rng.below(8); n > 0; --n) sent.push_back(random_frame(rng));
            Buffer const bytes = encode(sent);
            FrameParser parser(FrameLimits{});
            std::vector<Frame> got;  // kept to the end: later frames must not overwrite what earlier ones hold
            EXPECT_TRUE(
                feed(parser, bytes, rng, piece_max, [&](Frame& frame) { got.push_back(std::move(frame)); }));
            EXPECT_TRUE(parser.is_between_frames());
            ASSERT_EQ(got.size(), sent.size());
            for (usize i = 0; i < got.size(); ++i) expect_same(sent[i], got[i]);
        }
    }
}

TEST(FrameParser, TruncationYieldsOnlyTheWholeFramesBefore) {
    Prng rng(2);
    Sent first = random_frame(rng), second;
    second.header.kind = FrameKind::kRequest;
    second.body = random_bytes(rng, 50);
    second.payload = random_bytes(rng, 5000);
    usize const whole = encode({first}).size();
    Buffer const bytes = encode({first, second});
    for (usize size = 0; size < bytes.size(); size += 1 + rng.below(20)) {
        FrameParser parser(FrameLimits{});
        usize frames = 0;
        EXPECT_TRUE(feed(parser, bytes.bytes().first(size), rng, 1 << 20, [&](Frame&) { ++frames; }));
        EXPECT_EQ(frames, size >= whole ? 1U : 0U);
        EXPECT_EQ(parser.is_between_frames(), size == 0 || size == whole);
    }
}

TEST(FrameParser, EverySingleBitFlipIsNoticed) {
    Prng rng(3);
    Sent sent;
    sent.correlation = 77;
    sent.header.method = Method(0x1234);
    sent.header.deadline_ms = 500;
    sent.header.map_epoch = MapEpoch(9);
    sent.header.failure = Error{Code::kFenced, false, 3, "fenced"};
    sent.body = random_bytes(rng, 40);
    sent.payload = random_bytes(rng, 300);
    Buffer const good = encode({sent});
    for (usize bit = 0; bit < good.size() * 8; ++bit) {
        Buffer bad = Buffer::copy_of(good);
        bad.mutable_data()[bit / 8] ^= static_cast<u8>(1U << (bit % 8));
        FrameParser parser(FrameLimits{});
        // Refused, or waits for bytes that never come, or is delivered with a payload that does not verify.
        usize delivered = 0;
        (void)feed(parser, bad, rng, 1 << 20, [&](Frame& frame) { delivered += frame.payload_verifies() ? 1 : 0; });
        EXPECT_EQ(delivered, 0U) << "bit " << bit;
    }
}

TEST(FrameParser, BoundsAndVersionsAreKept) {
    Prng rng(4);
    Sent sent;
    sent.header.kind = FrameKind::kRequest;
    sent.body = random_bytes(rng, 1000);
    sent.payload = random_bytes(rng, 5000);
    Buffer const bytes = encode({sent});
    auto const accepts = [&](FrameLimits limits, std::optional<u16> version) {
        FrameParser parser(limits);
        if (version) parser.require_version(*version);
        usize frames = 0;
        bool const fed = feed(parser, bytes, rng, 100, [&](Frame&) { ++frames; });
        EXPECT_EQ(fed, frames == 1);
        return frames == 1;
    };
    EXPECT_TRUE(accepts(FrameLimits{}, k_wire_version));
    EXPECT_FALSE(accepts(FrameLimits{}, k_wire_version + 1));
    EXPECT_FALSE(accepts(FrameLimits{.header_bytes = 900}, {}));
    EXPECT_FALSE(accepts(FrameLimits{.payload_bytes = 4999}, {}));
    EXPECT_TRUE(accepts(FrameLimits{.payload_bytes = 5000}, {}));
}

TEST(FrameParser, AnAnnouncedLengthAloneAllocatesLittle) {
    u8 raw[k_preamble_bytes];
    encode_preamble(Preamble{.version = 1, .header_bytes = 1 << 20}, raw);
    FrameParser parser(FrameLimits{});
    auto space = parser.space();
    std::memcpy(space.target.mutable_data(), raw, sizeof raw);
    parser.filled(sizeof raw);
    ASSERT_TRUE(parser.next().has_value());
    for (usize arrived = sizeof raw; arrived < 500'000;) {
        space = parser.space();
        EXPECT_LE(space.target.size(), std::max<usize>(64 << 10, 2 * arrived + 8192));
        usize const piece = std::min<usize>(1000, space.target.size() - space.offset);
        parser.filled(piece);
        arrived += piece;
        ASSERT_TRUE(parser.next().has_value());
    }
}

TEST(FrameParser, FieldsOfALaterVersionAreTolerated) {
    pb::FrameHeader message;
    message.set_kind(2);
    message.set_method(5);
    message.set_traffic(9);                                                                // a class not known here
    std::string header = message.SerializeAsString() + std::string("\xfa\x07\x03xyz", 6);  // field 127
    std::vector<u8> raw(k_preamble_bytes + header.size());
    Preamble preamble{
        .version = 1, .flags = 0x8000, .header_bytes = static_cast<u32>(header.size()), .correlation = 1};
    encode_preamble(preamble, raw.data());
    std::memcpy(raw.data() + k_preamble_bytes, header.data(), header.size());
    preamble.crc = crc32c(as_bytes(header), crc32c(Bytes(raw).first(28)));
    encode_preamble(preamble, raw.data());
    FrameParser parser(FrameLimits{});
    Prng rng(5);
    usize frames = 0;
    EXPECT_TRUE(feed(parser, raw, rng, 100, [&](Frame& frame) {
        ++frames;
        EXPECT_EQ(frame.header.method, Method(5));
        EXPECT_EQ(frame.header.traffic, TrafficClass::kScrub);
    }));
    EXPECT_EQ(frames, 1U);
}

TEST(FrameEncoder, AGivenPayloadChecksumIsTakenAsItIs) {
    Prng rng(6);
    Buffer const block = random_bytes(rng, 4096), other = random_bytes(rng, 4096);
    BufferChain payload(block);
    payload.append(other);
    FrameEncoder encoder;
    encoder.add(1, FrameHeader{}, {}, payload, crc32c_combine(crc32c(block), crc32c(other), 4096));
    encoder.add(2, FrameHeader{}, {}, payload, 12345);
    BufferChain const batch = encoder.take();
    EXPECT_EQ(batch.parts()[1].data(), block.data()) << "blocks are shared, not copied";
    FrameParser parser(FrameLimits{});
    std::vector<bool> verifies;
    EXPECT_TRUE(feed(parser, batch.flatten(), rng, 1 << 20,
                     [&](Frame& frame) { verifies.push_back(frame.payload_verifies()); }));
    EXPECT_EQ(verifies, (std::vector<bool>{true, false}));
}

TEST(Hello, RoundTripAndNonsenseIsRefused) {
    Hello hello{.version_min = 3,
                .version_max = 4,
                .role = PeerRole::kCorelet,
                .lane = Lane::kBulk,
                .mesh = MeshId(7),
                .corelet = CoreletId(8),
                .incarnation = Incarnation(9),
                .boot_nonce = 10,
                .durable_sequence = 11,
                .map_epoch = MapEpoch(12)};
    auto const back = decode_hello(encode_hello(hello));
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(*back, hello);
    hello.corelet = {};
    EXPECT_FALSE(decode_hello(encode_hello(hello)).has_value()) << "a corelet has an id";
    EXPECT_FALSE(decode_hello(as_bytes("\xff\xff\xff")).has_value());
    EXPECT_FALSE(decode_hello({}).has_value());
}

TEST(Hello, VersionsNextToEachOtherAgree) {
    auto const range = [](u16 low, u16 high) {
        Hello hello;
        hello.version_min = low;
        hello.version_max = high;
        return hello;
    };
    EXPECT_EQ(negotiate_version(range(4, 5), range(5, 6)).value(), 5);
    EXPECT_EQ(negotiate_version(range(5, 6), range(4, 5)).value(), 5);
    EXPECT_EQ(negotiate_version(range(4, 5), range(4, 5)).value(), 5);
    EXPECT_EQ(negotiate_version(range(3, 4), range(5, 6)).error().code, Code::kUnsupported);
    EXPECT_EQ(negotiate_version(range(3, 4), range(4, 3)).error().code, Code::kUnsupported);
}

}  // namespace
}  // namespace corelet
