// The bytes of version 1 of a log record, for ever (docs/format/record.md).
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/golden_testing.h"
#include "stream/record.h"

namespace corelet {
namespace {

using testing::from_golden;
using testing::golden;

TEST(RecordGolden, FirstRecordOfASegment) {
    constexpr std::string_view k_bytes =
        "314c524301000000 3355ca9f07000000 0000000001000000 0002000002000000 0000000064000000 0000000062 00*15 04 "
        "00*11 0100000001000000 0100000002000000 0900000000010000 0040010000000000 6300000000000000 "
        "02000000e1e20100 00009698b4a50100 0000e3 00*8061";
    SegmentId const segment{SpaceId(7), 0x20000000001};
    constexpr u64 k_salt = 0xA1A2A3A4A5A6A7A8;
    Buffer const block = Buffer::zeroed(k_block_bytes);
    LogEntry const write{{0xE1, 0xE2}, BufferChain(block), {crc32c(block)}};
    LogEntry const mark{{0xE3}, {}, {}};
    RecordHeader header;
    header.segment = segment;
    header.epoch = Epoch(2);
    header.number = RecordNumber(100);
    header.acknowledged = RecordNumber(98);
    header.roll = 4;
    header.ends = {{0x10000000009, 81920, RecordNumber(99)}};
    std::vector<const LogEntry*> const entries{&write, &mark};
    EXPECT_EQ(golden(encode_record(header, k_salt, entries).bytes.flatten()), k_bytes);
    auto const read = decode_record(Buffer::copy_of(from_golden(k_bytes)), segment, k_salt, 0);
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(read->header.number, header.number);
    EXPECT_EQ(read->header.acknowledged, header.acknowledged);
    EXPECT_EQ(read->header.epoch, header.epoch);
    EXPECT_EQ(read->header.roll, header.roll);
    EXPECT_EQ(read->header.ends, header.ends);
    ASSERT_EQ(read->entries.size(), 2U);
    EXPECT_EQ(read->entries[0].meta, write.meta);
    EXPECT_EQ(read->entries[0].crcs, write.crcs);
    EXPECT_EQ(read->entries[1].meta, mark.meta);
}

}  // namespace
}  // namespace corelet
