// Log records: the bytes of a stream's segments.
//
// A record is one or more 4 KiB header blocks and then data blocks; a segment is records back to back from offset
// 0. The header carries everything that recovery needs: who wrote it, its number, the checksum of the one before,
// how far had been acknowledged, and for the first record of a segment the number of the roll and the ends of
// segments used before. The segment's salt seeds every checksum and is never in the bytes, so neither an earlier
// tenant's records nor a guest's data parse as ours (protocols 2.3, 4.1). Layout: docs/format/record.md.
#pragma once

#include <optional>

#include "stream/log_stream.h"

namespace corelet {

// What is known of the end of a segment used earlier (protocols 5.3).
struct StatedEnd {
    u64 seq = 0;               // the segment, in the same space
    u64 end_bytes = 0;         // records beyond do not count
    RecordNumber last_record;  // the last that counts; with end 0: the last before this segment
    friend auto operator<=>(const StatedEnd&, const StatedEnd&) = default;
};

struct RecordHeader {
    SegmentId segment;
    Epoch epoch;  // of the owner who wrote it
    RecordNumber number;
    RecordNumber acknowledged;  // the last record acknowledged when this one was made
    u64 offset = 0;             // of this record in the segment
    u64 roll = 0;               // grows with each segment the stream comes to use
    bool client_data =
        false;             // some of it is not to be written into the space kept for trims, packing and checkpoints
    u32 previous_crc = 0;  // header checksum of the record before it in the segment; 0 for the first
    std::vector<StatedEnd> ends;  // first record of a segment only
    u32 header_blocks = 0;
    u32 data_blocks = 0;
    u32 crc = 0;  // of the header, seeded by the salt: what the next record's previous_crc is
    [[nodiscard]] u64 size_bytes() const { return (u64{header_blocks} + data_blocks) * k_block_bytes; }
    [[nodiscard]] bool is_first() const { return offset == 0; }
};

struct EncodedRecord {
    RecordHeader header;  // completed: sizes and crc
    BufferChain bytes;
    u32 bytes_crc = 0;                   // CRC32C of `bytes`, as a payload
    std::vector<u32> entry_first_block;  // per entry: its first data block, counted from the segment's start
};

// Bounds of one record: what a batch may gather.
inline constexpr u32 k_record_data_blocks_max = 2048;  // 8 MiB
inline constexpr usize k_record_meta_bytes_max = 192 * 1024;
inline constexpr usize k_record_entries_max = 4096;

// Lays out the entries as a record at header.offset. Sizes within the bounds above are the caller's duty.
[[nodiscard]] EncodedRecord encode_record(RecordHeader header, u64 salt, std::span<const LogEntry* const> entries);

// Reads the header that starts at `bytes` (at least one block). kCorrupt: not a record of this segment at this
// offset, torn, or rotten. Needs header_blocks * 4 KiB bytes; with fewer, kInvalid and `detail` = bytes needed.
[[nodiscard]] Result<RecordHeader> decode_header(Bytes bytes, SegmentId segment, u64 salt, u64 offset);

struct DecodedRecord {
    RecordHeader header;
    std::vector<LogEntry> entries;  // blocks share the input's memory
    std::vector<u32> entry_first_block;
};
// The whole record, all blocks verified (protocols 4.1: header and all blocks verify, or it is not there).
[[nodiscard]] Result<DecodedRecord> decode_record(const Buffer& bytes, SegmentId segment, u64 salt, u64 offset);
// Verifies without building entries; what a replica does with each record that arrives. With `blocks` false only
// the header: what comes from the same process is the memory that the checksums were just made of.
struct VerifiedRecord {
    RecordHeader header;
    std::vector<u32> block_crcs;  // plain, of all its blocks, those of the header first
};
[[nodiscard]] Result<VerifiedRecord> verify_record(const BufferChain& bytes, SegmentId segment, u64 salt,
                                                   u64 offset, bool blocks = true);

}  // namespace corelet
