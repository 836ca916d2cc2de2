// The bytes of version 1 on a device, for ever (docs/format/device.md, journal.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "device/fragment_header.h"
#include "device/journal_format.h"
#include "device/metadata_records.h"
#include "device/superblock.h"

namespace corelet {
namespace {

using testing::from_golden;
using testing::golden;

Superblock some_superblock() {
    Superblock s;
    s.forgotten = true;
    s.generation = 7;
    s.mesh = MeshId(0x1112131415161718);
    s.identity = CoreletId(0x2122232425262728);
    s.incarnation = Incarnation(3);
    s.boot_nonce = 0x3132333435363738;
    s.format_key = 0x4142434445464749;
    s.layout = plan_layout({4 * k_gib, false, 0, 0}).value();
    s.location = "z1/r2/c3";
    s.forgotten_reason = "lost";
    return s;
}

TEST(DeviceGolden, Superblock) {
    constexpr std::string_view k_bytes =
        "434f52454c455401 0100000004000000 0100000000000000 0700000000000000 1817161514131211 2827262524232221 "
        "0300000000000000 3837363534333231 4947464544434241 0000000001000000 000080 00*8 0400000000080000 "
        "007a312f72322f63 33040000006c6f73 74 00*3972 4ee15f2b7dacf74e";
    Superblock const superblock = some_superblock();
    EXPECT_EQ(golden(encode_superblock(superblock, 1)), k_bytes);
    auto const read = decode_superblock(from_golden(k_bytes), 1);
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(*read, superblock);
}

// Places are not written down but computed: a change moves everything that is there.
TEST(DeviceGolden, Places) {
    using Places = std::array<u64, 6>;
    auto const places = [](u64 bytes, bool witness) {
        Layout const l = plan_layout({bytes, witness, 0, 0}).value();
        return Places{l.device_bytes,  l.metadata_half_bytes, l.consensus_half_bytes,
                      l.data_offset(), l.data_units(),        l.rings_offset()};
    };
    EXPECT_EQ(places(64 * k_mib, false), (Places{67108864, 4194304, 12582912, 33619968, 509, 67039232}));
    EXPECT_EQ(places(4 * k_gib + 5, false), (Places{4294967296, 8388608, 67108864, 151060480, 63229, 4294897664}));
    EXPECT_EQ(places(32 * k_mib, true), (Places{33554432, 2097152, 14548992, 33357824, 0, 33484800}));
    Layout const layout = plan_layout({4 * k_gib, false, 0, 0}).value();
    EXPECT_EQ(layout.metadata_area(99).key, 12876329810751772774U);
    EXPECT_EQ(layout.consensus_area(99).key, 1537428075577299823U);
}

TEST(DeviceGolden, JournalBatch) {
    constexpr std::string_view k_bytes =
        "434a423101000000 0500000000000000 2900000000000000 0300000010000000 5857565554535251 6867666564636261 "
        "7877767574737271 00*8 81e417d5020634c5 0300000001020300 00000001000000aa 00*4008";
    BatchHeader header;
    header.batch = 5;
    header.first_record = 41;
    header.chain = 0x5152535455565758;
    header.key = 0x6162636465666768;
    header.session = 0x7172737475767778;
    std::vector<std::vector<u8>> const records{{1, 2, 3}, {}, {0xAA}};
    EXPECT_EQ(golden(encode_batch(header, records).bytes), k_bytes);
    auto const bytes = from_golden(k_bytes);
    auto const read = peek_batch(bytes, header.key);
    ASSERT_TRUE(read);
    ASSERT_TRUE(verify_batch(*read, bytes));
    std::vector<std::vector<u8>> found;
    for_each_record(*read, bytes, [&](u64 number, Bytes record) {
        EXPECT_EQ(number, 41 + found.size());
        found.emplace_back(record.begin(), record.end());
    });
    EXPECT_EQ(found, records);
}

TEST(DeviceGolden, JournalIdentifierAndHalfHeader) {
    constexpr std::string_view k_identifier =
        "434a493101000000 0500000000000000 0807060504030201 2b00000000000000 6867666564636261 00*4048 "
        "3d4251ccfc9c7cd4";
    BatchIdentifier const identifier{5, 0x0102030405060708, 43, 0x6162636465666768, {}};
    EXPECT_EQ(golden(encode_identifier(identifier)), k_identifier);
    EXPECT_EQ(decode_identifier(from_golden(k_identifier), identifier.key), identifier);
    constexpr std::string_view k_header =
        "434a483101000000 0200000000000000 2800000000000000 0500000000000000 5857565554535251 6400000000000000 "
        "1817161514131211 6867666564636261 00*4024 f37daf78e9f6f282";
    HalfHeader const header{2, 40, 5, 0x5152535455565758, 100, 0x1112131415161718, 0x6162636465666768};
    EXPECT_EQ(golden(encode_half_header(header)), k_header);
    EXPECT_EQ(decode_half_header(from_golden(k_header), header.key), header);
    EXPECT_EQ(state_checksum(as_bytes("state"), 9), 10348753472512435930U);
}

TEST(DeviceGolden, FragmentHeader) {
    constexpr std::string_view k_bytes =
        "4346483101000000 5857565554535251 0807060504030201 1817161514131211 0304020002000000 3075000000000000 "
        "0900000000000000 3837363534333231 2423222102000000 4d00000001000000 03 00*15 62efa88477b80b4f a1a2a3 "
        "00*1045 721ef4993dd6bc3a 6300000002 00*2931";
    StoredHeader h;
    h.entry = FragmentEntry{0x0102030405060708, 0x1112131415161718, 77, 2, 0x21222324, 3, 4, 2, 0};
    h.fields.k = 4;
    h.fields.m = 2;
    h.fields.chunk_data_bytes = 30000;
    h.fields.map_epoch = MapEpoch(9);
    h.fields.opaque = {0xA1, 0xA2, 0xA3};
    h.written_seq = 0x3132333435363738;
    h.extents = {{77, 1}, {99, 2}};
    for (u64 block = 0; block < 2; ++block)
        h.stored_crcs.push_back(
            bind_block_crc(0x41424344 + static_cast<u32>(block), fragment_place(h.entry.id(), block)));
    EXPECT_EQ(golden(encode_fragment_header(h, 0x5152535455565758)), k_bytes);
    auto const read = decode_fragment_header(from_golden(k_bytes), 0x5152535455565758);
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(read->entry, h.entry);
    EXPECT_EQ(read->fields, h.fields);
    EXPECT_EQ(read->extents, h.extents);
    EXPECT_EQ(read->plain_crc(1), 0x41424345U);
}

// One record of each kind, the state that they fold to, and that state read back.
TEST(DeviceGolden, MetadataRecordsAndSnapshot) {
    SegmentEntry segment;
    segment.id = {SpaceId(7), 0x10000000001};
    segment.salt = 0xA1A2A3A4A5A6A7A8;
    segment.opened_epoch = segment.epoch = Epoch(1);
    segment.owner = CoreletId(0xB1);
    segment.reserved_units = 4;
    segment.opaque = {0xC1, 0xC2};
    segment.extents = {{10, 2}};
    SegmentEntry other = segment;
    other.id.seq = 0x10000000002;
    other.extents = {{20, 2}};
    FragmentEntry const fragment{7, 0x10000000003, 30, 5, 0x0A0B0C0D, 1, 2, 1, 0};
    FragmentEntry const spread{7, 0x10000000004, 40, 20, 0x0E0F1011, 0, 2, 1, FragmentEntry::k_scattered};
    std::vector<std::pair<records::Record, std::string_view>> const kinds{
        {records::mount(Incarnation(3), 0x3132333435363738), "0103000000000000 0038373635343332 31"},
        {records::put(fragment, {{30, 1}}),
         "0207000000000000 0003000000000100 001e000000050000 000d0c0b0a010201 00010000001e0000 0001000000"},
        {records::put(spread, {{40, 1}, {44, 1}}),
         "0207000000000000 0004000000000100 0028000000140000 0011100f0e000201 0402000000280000 00010000002c0000 "
         "0001000000"},
        {records::prepare(segment),
         "0507000000000000 0001000000000100 00a8a7a6a5a4a3a2 a101000000000000 0001000000000000 00b1 00*17 "
         "0400000000000000 02000000c1c20100 00000a0000000200 0000"},
        {records::prepare(other),
         "0507000000000000 0002000000000100 00a8a7a6a5a4a3a2 a101000000000000 0001000000000000 00b1 00*17 "
         "0400000000000000 02000000c1c20100 0000140000000200 0000"},
        {records::grow(segment.id, {{12, 1}}), "0607000000000000 0001000000000100 00010000000c0000 0001000000"},
        {records::fence(segment.id, Epoch(2), CoreletId(0xB2)),
         "0707000000000000 0001000000000100 0002000000000000 00b2000000000000 00"},
        {records::seal(segment.id, 69632), "0807000000000000 0001000000000100 0000100100000000 00"},
        {records::drop(other.id), "0907000000000000 0002000000000100 00"},
        {records::quarantine(spread.id(), true), "0407000000000000 0004000000000100 000001"},
        {records::note("map", from_golden("d1d2")), "0b030000006d6170 02000000d1d2"},
        {records::frontier(50), "0c32000000000000 00"},
    };
    Metadata state;
    for (const auto& [record, bytes] : kinds) {
        EXPECT_EQ(golden(record), bytes);
        auto const applied = state.apply(from_golden(bytes));
        EXPECT_TRUE(applied) << bytes << ": " << applied.error().to_string();
    }
    constexpr std::string_view k_snapshot =
        "434d533101000000 0300000000000000 3200000000000000 0200000000000000 0700000000000000 0300000000010000 "
        "1e00000005000000 0d0c0b0a01020100 0700000000000000 0400000000010000 2800000014000000 11100f0e00020105 "
        "0200000028000000 010000002c000000 0100000001000000 0000000007000000 0000000001000000 00010000a8a7a6a5 "
        "a4a3a2a101000000 0000000002000000 00000000b2000000 0000000001000010 0100000000000400 0000000000000200 "
        "0000c1c201000000 0a00000002000000 0100000000000000 0700000000000000 0200000000010000 01 00*15 "
        "0100000000000000 030000006d617002 000000d1d2";
    EXPECT_EQ(golden(state.encode()), k_snapshot);
    auto const read = Metadata::decode(from_golden(k_snapshot));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(golden(read->encode()), k_snapshot);
    EXPECT_EQ(golden(records::remove(fragment.id())), "0307000000000000 0003000000000100 0001");
    FragmentEntry const adopted{7, 0x10000000001, 60, 17, 0x12131415, 0, 1, 2, FragmentEntry::k_adopted};
    EXPECT_EQ(golden(records::adopt(segment.id, adopted, {{60, 1}, {10, 2}})),
              "0a07000000000000 0001000000000100 0007000000000000 0001000000000100 003c000000110000 "
              "0015141312000102 02020000003c0000 00010000000a0000 0002000000");
}

}  // namespace
}  // namespace corelet
