// stream/record.h and volume/log_entry.h: bytes of a segment, as they came and with the header's own fields and
// checksum made right, so that what lies behind the first gates is reached too. Reading, replay and a replica's
// check agree.
#include "stream/record.h"

#include "base/assert.h"
#include "base/checksum.h"
#include "volume/log_entry.h"

using namespace corelet;

namespace {

constexpr SegmentId k_segment{SpaceId(7), 0x1'0000'0009};
constexpr u64 k_salt = 0x5EED;
constexpr usize k_bytes_max = 64 * k_block_bytes;

void put(std::vector<u8>& bytes, usize at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

// Everything of the fixed part that is not free, then the checksum (docs/format/record.md).
void mend(std::vector<u8>& bytes, u64 offset) {
    put(bytes, 0, u32{0x43524C31});
    put(bytes, 4, u16{1});
    put(bytes, 12, k_segment.space.v);
    put(bytes, 20, k_segment.seq);
    put(bytes, 52, offset);
    u32 header_blocks = 0;
    std::memcpy(&header_blocks, bytes.data() + 72, sizeof header_blocks);
    header_blocks = 1 + header_blocks % static_cast<u32>(bytes.size() / k_block_bytes);
    put(bytes, 72, header_blocks);
    u64 const seed[3] = {k_salt, k_segment.space.v, k_segment.seq};
    Bytes const header = Bytes(bytes).first(header_blocks * k_block_bytes);
    static constexpr u8 k_zeros[4] = {};
    u32 crc = crc32c(header.first(8), crc32c(Bytes{reinterpret_cast<const u8*>(seed), sizeof seed}));
    crc = crc32c(header.subspan(12), crc32c(Bytes{k_zeros, 4}, crc));
    put(bytes, 8, crc);
}

void check(const Buffer& bytes, u64 offset) {
    auto const header = decode_header(bytes, k_segment, k_salt, offset);
    auto const record = decode_record(bytes, k_segment, k_salt, offset);
    if (!record) return;
    CORELET_ASSERT(header && header->crc == record->header.crc);
    CORELET_ASSERT(record->entries.size() == record->entry_first_block.size());
    u64 blocks = 0;
    for (const LogEntry& entry : record->entries) {
        CORELET_ASSERT(entry.blocks.size() == entry.crcs.size() * k_block_bytes);
        blocks += entry.crcs.size();
        (void)decode_volume_entry(entry.meta);
    }
    CORELET_ASSERT(blocks == record->header.data_blocks && record->header.size_bytes() <= bytes.size());
    Buffer const exact = bytes.slice(0, record->header.size_bytes());
    CORELET_ASSERT(verify_record(BufferChain(exact), k_segment, k_salt, offset).has_value());
    // Of another segment, or at another place, they are nothing.
    CORELET_ASSERT(!decode_record(bytes, k_segment, k_salt + 1, offset));
    CORELET_ASSERT(!decode_record(bytes, k_segment, k_salt, offset + k_block_bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size == 0 || size > k_bytes_max) return 0;
    u64 const offset = (data[0] & 1) != 0 ? 0 : 3 * k_block_bytes;
    std::vector<u8> bytes(data + 1, data + size);
    bytes.resize(std::max<usize>(round_up(bytes.size(), k_block_bytes), k_block_bytes));
    check(Buffer::copy_of(Bytes(data + 1, size - 1)), offset);
    check(Buffer::copy_of(bytes), offset);
    mend(bytes, offset);
    check(Buffer::copy_of(bytes), offset);
    // An entry on its own: what decodes encodes to something that decodes.
    if (auto const entry = decode_volume_entry(Bytes(data + 1, size - 1))) {
        CORELET_ASSERT(decode_volume_entry(encode_volume_entry(*entry)).has_value());
    }
    return 0;
}
