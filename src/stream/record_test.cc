#include "stream/record.h"

#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/prng.h"

namespace corelet {
namespace {

LogEntry random_entry(Prng& rng, usize blocks) {
    LogEntry entry;
    entry.meta.resize(rng.below(200));
    for (u8& b : entry.meta) b = static_cast<u8>(rng.next());
    Buffer data = Buffer::allocate(blocks * k_block_bytes);
    for (u8& b : data.mutable_bytes()) b = static_cast<u8>(rng.next());
    entry.blocks = BufferChain(data);
    entry.crcs = block_crcs(entry.blocks);
    return entry;
}

struct Sample {
    SegmentId segment{SpaceId(7), 99};
    u64 salt = 0x1234;
    std::vector<LogEntry> entries;
    EncodedRecord record;

    explicit Sample(u64 seed, usize count = 3, u64 offset = 0) {
        Prng rng(seed);
        for (usize i = 0; i < count; ++i) entries.push_back(random_entry(rng, rng.below(4)));
        std::vector<const LogEntry*> pointers;
        for (const LogEntry& entry : entries) pointers.push_back(&entry);
        RecordHeader h;
        h.segment = segment;
        h.epoch = Epoch(3);
        h.number = RecordNumber(11);
        h.acknowledged = RecordNumber(9);
        h.offset = offset;
        h.roll = 4;
        h.previous_crc = 77;
        if (offset == 0) h.ends = {{98, 8192, RecordNumber(10)}};
        record = encode_record(std::move(h), salt, pointers);
    }
    [[nodiscard]] Buffer bytes() const { return record.bytes.flatten(); }
};

TEST(Record, RoundTrip) {
    for (u64 seed = 0; seed < 50; ++seed) {
        u64 const offset = seed % 2 ? 0 : 12 * k_block_bytes;
        Sample const s(seed, 1 + seed % 40, offset);
        auto const decoded = decode_record(s.bytes(), s.segment, s.salt, offset);
        ASSERT_TRUE(decoded) << decoded.error().to_string();
        EXPECT_EQ(decoded->header.number, RecordNumber(11));
        EXPECT_EQ(decoded->header.ends, s.record.header.ends);
        EXPECT_EQ(decoded->entry_first_block, s.record.entry_first_block);
        ASSERT_EQ(decoded->entries.size(), s.entries.size());
        for (usize i = 0; i < s.entries.size(); ++i) {
            EXPECT_EQ(decoded->entries[i].meta, s.entries[i].meta);
            EXPECT_EQ(decoded->entries[i].crcs, s.entries[i].crcs);
            EXPECT_EQ(decoded->entries[i].blocks.size(), s.entries[i].blocks.size());
        }
        EXPECT_TRUE(verify_record(s.record.bytes, s.segment, s.salt, offset));
    }
}

TEST(Record, EveryFlippedBitIsNoticed) {
    Sample const s(5);
    Buffer const good = s.bytes();
    for (usize byte = 0; byte < good.size(); byte += byte < 400 ? 1 : 97) {
        Buffer bad = Buffer::copy_of(good);
        bad.mutable_data()[byte] ^= static_cast<u8>(1U << (byte % 8));
        EXPECT_FALSE(decode_record(bad, s.segment, s.salt, 0)) << byte;
        EXPECT_FALSE(verify_record(BufferChain(bad), s.segment, s.salt, 0)) << byte;
    }
}

TEST(Record, NothingOfAnotherPlaceOrTenantParses) {
    Sample const s(6);
    EXPECT_FALSE(decode_record(s.bytes(), s.segment, s.salt + 1, 0)) << "another tenant's salt";
    EXPECT_FALSE(decode_record(s.bytes(), SegmentId{s.segment.space, 100}, s.salt, 0)) << "another segment";
    EXPECT_FALSE(decode_record(s.bytes(), s.segment, s.salt, k_block_bytes)) << "another offset";
    EXPECT_FALSE(decode_record(Buffer::zeroed(8192), s.segment, s.salt, 0)) << "fresh space";
}

TEST(Record, ATornOneIsNotThere) {
    Sample const s(7, 30);
    Buffer const good = s.bytes();
    for (usize cut = 0; cut < good.size(); cut += 512) {
        Buffer torn = Buffer::zeroed(good.size());
        std::memcpy(torn.mutable_data(), good.data(), cut);
        auto const decoded = decode_record(torn, s.segment, s.salt, 0);
        if (decoded) EXPECT_TRUE(is_all_zero(good.bytes().subspan(cut)));
    }
}

TEST(Record, ChainsSplitAnywhereVerify) {
    Sample const s(8, 40);
    Buffer const good = s.bytes();
    BufferChain odd;
    for (usize at = 0; at < good.size();) {
        usize const step = std::min<usize>(good.size() - at, 3000);
        odd.append(good.slice(at, step));
        at += step;
    }
    EXPECT_TRUE(verify_record(odd, s.segment, s.salt, 0));
}

TEST(Record, ChecksumsOfAllBlocksComeWithTheVerdict) {
    Sample const s(9, 25);
    auto const whole = verify_record(s.record.bytes, s.segment, s.salt, 0);
    ASSERT_TRUE(whole);
    EXPECT_EQ(whole->block_crcs, block_crcs(s.record.bytes));
    EXPECT_EQ(s.record.bytes_crc, crc32c_chain(s.record.bytes));
    // Of the same process: what the header says of the data is believed, the header is not.
    auto const believed = verify_record(s.record.bytes, s.segment, s.salt, 0, false);
    ASSERT_TRUE(believed);
    EXPECT_EQ(believed->block_crcs, whole->block_crcs);
    Buffer bad = Buffer::copy_of(s.bytes());
    bad.mutable_data()[40] ^= 1;
    EXPECT_FALSE(verify_record(BufferChain(bad), s.segment, s.salt, 0, false));
}

}  // namespace
}  // namespace corelet
