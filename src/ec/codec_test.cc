#include "ec/codec.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/checksum.h"
#include "base/prng.h"

namespace corelet::ec {
namespace {

using Fragments = std::vector<std::vector<u8>>;

Fragments make_fragments(const Codec& codec, usize length, Prng& rng) {
    Fragments all(codec.width(), std::vector<u8>(length));
    for (unsigned i = 0; i < codec.k(); ++i) {
        for (u8& byte : all[i]) byte = static_cast<u8>(rng.next());
    }
    std::vector<Bytes> const data(all.begin(), all.begin() + codec.k());
    std::vector<MutableBytes> const parity(all.begin() + codec.k(), all.end());
    codec.encode(data, parity);
    return all;
}

// Loses the fragments in `lost` (bits) and expects each of them back; `offset` and `length` choose a range.
void expect_recovered(Codec& codec, const Fragments& all, u32 lost, usize offset, usize length) {
    std::vector<Piece> have;
    std::vector<MutablePiece> wanted;
    Fragments out(codec.width(), std::vector<u8>(length, 0xEE));
    for (unsigned i = 0; i < codec.width(); ++i) {
        if (lost >> i & 1U) {
            wanted.push_back({static_cast<u8>(i), out[i]});
        } else {
            have.push_back({static_cast<u8>(i), Bytes(all[i]).subspan(offset, length)});
        }
    }
    auto const result = codec.reconstruct(have, wanted);
    ASSERT_TRUE(result.has_value()) << result.error().to_string();
    for (const MutablePiece& piece : wanted) {
        Bytes const truth = Bytes(all[piece.position]).subspan(offset, length);
        ASSERT_TRUE(std::equal(piece.bytes.begin(), piece.bytes.end(), truth.begin()))
            << codec.k() << "+" << codec.m() << " lost " << lost << " position " << int{piece.position};
    }
}

TEST(Codec, RefusesWhatIsOutOfBounds) {
    EXPECT_EQ(Codec::make(0, 2).error().code, Code::kInvalid);
    EXPECT_EQ(Codec::make(17, 2).error().code, Code::kInvalid);
    EXPECT_EQ(Codec::make(4, 9).error().code, Code::kInvalid);
    EXPECT_TRUE(Codec::make(16, 8).has_value());
    EXPECT_TRUE(Codec::make(1, 0).has_value());
}

TEST(Codec, EveryErasureOfSmallCodes) {
    Prng rng(1);
    for (unsigned k = 1; k <= 6; ++k) {
        for (unsigned m = 0; m <= 4; ++m) {
            Codec codec = Codec::make(k, m).value();
            Fragments const all = make_fragments(codec, 67, rng);
            for (u32 lost = 0; lost < 1U << (k + m); ++lost) {
                if (static_cast<unsigned>(std::popcount(lost)) > m) continue;
                expect_recovered(codec, all, lost, 0, 67);
            }
        }
    }
}

// Any k of the widest code's rows are regular, drawn at random (C(24, 8) sets are too many to walk).
TEST(Codec, RandomErasuresOfEveryCode) {
    Prng rng(2);
    for (unsigned k = 1; k <= k_data_max; ++k) {
        for (unsigned m = 1; m <= k_parity_max; ++m) {
            Codec codec = Codec::make(k, m).value();
            Fragments const all = make_fragments(codec, rng.between(1, 300), rng);
            for (int round = 0; round < 40; ++round) {
                u32 lost = 0;
                while (static_cast<unsigned>(std::popcount(lost)) < m) lost |= 1U << rng.below(k + m);
                expect_recovered(codec, all, lost, 0, all[0].size());
            }
        }
    }
}

// A code is MDS exactly if every square submatrix of the parity part is regular; losing s data fragments while only
// s parities are at hand walks all s x s submatrices. Done in full for the codes people use.
TEST(Codec, UsualCodesAreMds) {
    Prng rng(3);
    for (auto const& [k, m] : {std::pair{10u, 4u}, std::pair{8u, 3u}, std::pair{9u, 5u}}) {
        Codec codec = Codec::make(k, m).value();
        Fragments const all = make_fragments(codec, 32, rng);
        for (u32 lost = 0; lost < 1U << (k + m); ++lost) {
            if (static_cast<unsigned>(std::popcount(lost)) == m) expect_recovered(codec, all, lost, 0, 32);
        }
    }
}

TEST(Codec, RangeDecodeEqualsFullDecode) {
    Prng rng(4);
    for (int round = 0; round < 60; ++round) {
        unsigned const k = static_cast<unsigned>(rng.between(2, 16));
        unsigned const m = static_cast<unsigned>(rng.between(1, 8));
        Codec codec = Codec::make(k, m).value();
        usize const length = rng.between(1, 100'000);
        Fragments const all = make_fragments(codec, length, rng);
        usize const offset = rng.below(length);
        u32 const lost = 1U << rng.below(k + m);
        expect_recovered(codec, all, lost, offset, rng.between(1, length - offset));
    }
}

TEST(Codec, LongFragmentsCrossSlices) {
    Prng rng(5);
    Codec codec = Codec::make(4, 2).value();
    Fragments const all = make_fragments(codec, 300'001, rng);
    expect_recovered(codec, all, 0b100010, 0, 300'001);
    // The same bytes, encoded in one piece without slices of any kind, one byte at a time.
    for (usize at : {usize{0}, usize{40'959}, usize{40'960}, usize{299'999}, usize{300'000}}) {
        std::vector<Bytes> data;
        for (unsigned i = 0; i < 4; ++i) data.push_back(Bytes(all[i]).subspan(at, 1));
        std::array<u8, 2> parity{};
        std::vector<MutableBytes> const views{{&parity[0], 1}, {&parity[1], 1}};
        codec.encode(data, views);
        EXPECT_EQ(parity[0], all[4][at]);
        EXPECT_EQ(parity[1], all[5][at]);
    }
}

TEST(Codec, FewerThanKIsUnavailable) {
    Prng rng(6);
    Codec codec = Codec::make(3, 2).value();
    Fragments const all = make_fragments(codec, 16, rng);
    std::vector<u8> out(16);
    std::vector<Piece> const have{{0, all[0]}, {4, all[4]}};
    std::vector<MutablePiece> const wanted{{1, out}};
    EXPECT_EQ(codec.reconstruct(have, wanted).error().code, Code::kUnavailable);
}

TEST(Codec, MalformedPiecesAreInvalid) {
    Prng rng(6);
    Codec codec = Codec::make(2, 1).value();
    Fragments const all = make_fragments(codec, 16, rng);
    std::vector<u8> out(16);
    std::vector<MutablePiece> const wanted{{1, out}};
    std::vector<Piece> const twice{{0, all[0]}, {0, all[0]}};
    EXPECT_EQ(codec.reconstruct(twice, wanted).error().code, Code::kInvalid);
    std::vector<Piece> const beyond{{0, all[0]}, {3, all[2]}};
    EXPECT_EQ(codec.reconstruct(beyond, wanted).error().code, Code::kInvalid);
    std::vector<Piece> const shorter{{0, all[0]}, {2, Bytes(all[2]).first(15)}};
    EXPECT_EQ(codec.reconstruct(shorter, wanted).error().code, Code::kInvalid);
}

TEST(Codec, WantedPositionAtHandIsCopied) {
    Prng rng(8);
    Codec codec = Codec::make(2, 2).value();
    Fragments const all = make_fragments(codec, 16, rng);
    std::vector<u8> first(16), third(16);
    std::vector<Piece> const have{{3, all[3]}, {0, all[0]}};
    std::vector<MutablePiece> const wanted{{2, third}, {0, first}};
    ASSERT_TRUE(codec.reconstruct(have, wanted).has_value());
    EXPECT_EQ(first, all[0]);
    EXPECT_EQ(third, all[2]);
}

TEST(Codec, ReplicationCopies) {
    Prng rng(9);
    Codec codec = Codec::make(1, 2).value();
    Fragments const all = make_fragments(codec, 33, rng);
    EXPECT_EQ(all[0], all[1]);
    EXPECT_EQ(all[0], all[2]);
    expect_recovered(codec, all, 0b011, 0, 33);
}

TEST(Codec, ConsistencyNoticesEveryFlippedByte) {
    Prng rng(10);
    Codec codec = Codec::make(4, 2).value();
    Fragments all = make_fragments(codec, 64, rng);
    auto const views = [&] { return std::vector<Bytes>(all.begin(), all.end()); };
    EXPECT_TRUE(codec.consistent(views()));
    for (auto& fragment : all) {
        u8& byte = fragment[rng.below(64)];
        byte ^= 1;
        EXPECT_FALSE(codec.consistent(views()));
        byte ^= 1;
    }
    all[5][63] ^= 0x80;
    EXPECT_FALSE(codec.consistent(views()));
}

TEST(Codec, TablesAreBounded) {
    Prng rng(11);
    Codec codec = Codec::make(8, 4).value();
    Fragments const all = make_fragments(codec, 8, rng);
    for (u32 lost = 0; lost < 1U << 12; ++lost) {
        if (std::popcount(lost) == 4) expect_recovered(codec, all, lost, 0, 8);
    }
    EXPECT_EQ(codec.cached_tables(), k_decode_tables_max);
}

u32 golden_crc(unsigned k, unsigned m) {
    Codec const codec = Codec::make(k, m).value();
    Fragments all(codec.width(), std::vector<u8>(4096));
    for (unsigned i = 0; i < k; ++i) {
        for (usize x = 0; x < 4096; ++x) all[i][x] = static_cast<u8>(31 * i + 7 * x + (x >> 8));
    }
    codec.encode(std::vector<Bytes>(all.begin(), all.begin() + k),
                 std::vector<MutableBytes>(all.begin() + k, all.end()));
    u32 crc = 0;
    for (unsigned i = k; i < k + m; ++i) crc = crc32c(all[i], crc);
    return crc;
}

// Parity is on disks: these never change. Checked once against a table-free computation from the header's
// definition.
TEST(Codec, GoldenParity) {
    Codec const codec = Codec::make(4, 2).value();
    std::vector<u8> const a{0x01, 0x10, 0xFF, 0x00}, b{0x02, 0x20, 0xFF, 0x00}, c{0x03, 0x40, 0xFF, 0x00},
        d{0x04, 0x80, 0xFF, 0x01};
    std::vector<u8> p(4), q(4);
    codec.encode(std::vector<Bytes>{a, b, c, d}, std::vector<MutableBytes>{p, q});
    EXPECT_EQ(p, (std::vector<u8>{0x48, 0xE9, 0x96, 0xBA}));
    EXPECT_EQ(q, (std::vector<u8>{0x0F, 0xC0, 0x96, 0x7A}));
    EXPECT_EQ(golden_crc(2, 1), 1579347400u);
    EXPECT_EQ(golden_crc(4, 2), 3547251219u);
    EXPECT_EQ(golden_crc(8, 3), 1466869616u);
    EXPECT_EQ(golden_crc(10, 4), 1970012941u);
    EXPECT_EQ(golden_crc(16, 8), 3772851261u);
}

}  // namespace
}  // namespace corelet::ec
