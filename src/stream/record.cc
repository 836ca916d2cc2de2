#include "stream/record.h"

#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {

namespace {

constexpr u32 k_record_magic = 0x4352'4C31;  // "1LRC"
constexpr u16 k_record_version = 1;
constexpr u16 k_flag_client_data = 1;
constexpr u32 k_header_blocks_max = 128;
constexpr usize k_fixed_bytes = 88;  // up to the stated ends
constexpr usize k_crc_offset = 8;    // magic 4, version 2, flags 2, then the checksum

// The stored checksum of a data block, bound to the segment, its salt and its place in it.
Place block_place(SegmentId segment, u64 salt, u64 block) {
    return Place{segment.space.v, segment.seq ^ salt, block};
}

u32 salted(u64 salt, u64 space, u64 seq) {
    u64 const seed[3] = {salt, space, seq};
    return crc32c(Bytes{reinterpret_cast<const u8*>(seed), sizeof seed});
}

// Checksum of a header with its own checksum field read as zero.
u32 header_crc(Bytes header, SegmentId segment, u64 salt) {
    static constexpr u8 k_zeros[4] = {};
    u32 crc = crc32c(header.first(k_crc_offset), salted(salt, segment.space.v, segment.seq));
    crc = crc32c(Bytes{k_zeros, 4}, crc);
    return crc32c(header.subspan(k_crc_offset + 4), crc);
}

usize encoded_header_bytes(const RecordHeader& header, std::span<const LogEntry* const> entries) {
    usize bytes = 128 + header.ends.size() * 24;
    for (const LogEntry* entry : entries) bytes += 8 + entry->meta.size() + entry->crcs.size() * 4;
    return bytes;
}

}  // namespace

EncodedRecord encode_record(RecordHeader header, u64 salt, std::span<const LogEntry* const> entries) {
    CORELET_ASSERT(!entries.empty() && entries.size() <= k_record_entries_max);
    CORELET_ASSERT(header.offset % k_block_bytes == 0);
    CORELET_ASSERT(header.acknowledged < header.number);
    CORELET_ASSERT(header.is_first() || header.ends.empty(), "only a first record states ends");
    EncodedRecord out;
    header.header_blocks = static_cast<u32>(div_ceil(encoded_header_bytes(header, entries), k_block_bytes));
    CORELET_ASSERT(header.header_blocks <= k_header_blocks_max);
    header.data_blocks = 0;
    for (const LogEntry* entry : entries) header.data_blocks += static_cast<u32>(entry->crcs.size());
    CORELET_ASSERT(header.data_blocks <= k_record_data_blocks_max);

    Writer w;
    w.mutable_data().reserve(header.header_blocks * k_block_bytes);
    w.put(k_record_magic).put(k_record_version).put<u16>(header.client_data ? k_flag_client_data : 0).put<u32>(0);
    w.put(header.segment).put(header.epoch).put(header.number).put(header.acknowledged);
    w.put(header.offset).put(header.roll).put(header.previous_crc);
    w.put(header.header_blocks).put(header.data_blocks);
    w.put(static_cast<u32>(header.ends.size())).put(static_cast<u32>(entries.size()));
    CORELET_ASSERT(w.size() == k_fixed_bytes);
    for (const StatedEnd& end : header.ends) w.put(end.seq).put(end.end_bytes).put(end.last_record);
    u64 block = header.offset / k_block_bytes + header.header_blocks;
    BufferChain data;
    u32 data_crc = 0;
    for (const LogEntry* entry : entries) {
        CORELET_ASSERT(entry->blocks.size() == entry->crcs.size() * k_block_bytes);
        out.entry_first_block.push_back(static_cast<u32>(block));
        w.put_bytes(entry->meta).put(static_cast<u32>(entry->crcs.size()));
        for (u32 crc : entry->crcs) w.put(bind_block_crc(crc, block_place(header.segment, salt, block++)));
        data.append(entry->blocks);
        data_crc = crc32c_of_blocks(entry->crcs, data_crc);
    }
    CORELET_ASSERT(w.size() <= header.header_blocks * k_block_bytes);

    Buffer head = Buffer::zeroed(header.header_blocks * k_block_bytes);
    std::memcpy(head.mutable_data(), w.data().data(), w.size());
    header.crc = header_crc(head, header.segment, salt);
    std::memcpy(head.mutable_data() + k_crc_offset, &header.crc, sizeof header.crc);
    out.bytes_crc = crc32c_combine(crc32c(head), data_crc, data.size());
    out.header = std::move(header);
    out.bytes.append(std::move(head));
    out.bytes.append(data);
    CORELET_ASSERT(out.bytes.size() == out.header.size_bytes());
    return out;
}

namespace {

struct EntryBody {
    Bytes meta;
    u32 first_crc_offset = 0;
    u32 blocks = 0;
};

struct ParsedHeader {
    RecordHeader header;
    std::vector<EntryBody> entries;
    std::vector<u32> stored_crcs;
};

// `sink` wants the entries too when not null.
Result<RecordHeader> parse_header(Bytes bytes, SegmentId segment, u64 salt, u64 offset, ParsedHeader* sink) {
    if (bytes.size() < k_block_bytes) return fail(Code::kInvalid, "a record header needs a block", k_block_bytes);
    Reader r(bytes);
    RecordHeader h;
    if (r.get<u32>() != k_record_magic) return fail(Code::kCorrupt, "no record here");
    if (u16 const version = r.get<u16>(); version != k_record_version)
        return fail(Code::kUnsupported, "record version " + std::to_string(version));
    h.client_data = (r.get<u16>() & k_flag_client_data) != 0;
    h.crc = r.get<u32>();
    h.segment = r.get_chunk_id();
    h.epoch = r.get<Epoch>();
    h.number = r.get<RecordNumber>();
    h.acknowledged = r.get<RecordNumber>();
    h.offset = r.get<u64>();
    h.roll = r.get<u64>();
    h.previous_crc = r.get<u32>();
    h.header_blocks = r.get<u32>();
    h.data_blocks = r.get<u32>();
    u32 const ends = r.get<u32>();
    u32 const entries = r.get<u32>();
    if (h.segment != segment || h.offset != offset) return fail(Code::kCorrupt, "a record of another place");
    if (h.header_blocks == 0 || h.header_blocks > k_header_blocks_max || h.data_blocks > k_record_data_blocks_max)
        return fail(Code::kCorrupt, "record sizes out of bounds");
    u64 const header_bytes = u64{h.header_blocks} * k_block_bytes;
    if (bytes.size() < header_bytes) return fail(Code::kInvalid, "record header is longer", header_bytes);
    bytes = bytes.first(header_bytes);
    if (header_crc(bytes, segment, salt) != h.crc) return fail(Code::kCorrupt, "record header checksum");
    // From here on the bytes are what an owner wrote; still nothing is trusted to be in bounds.
    r = Reader(bytes.subspan(k_fixed_bytes));
    for (u32 i = 0; i < ends; ++i) {
        StatedEnd end;
        end.seq = r.get<u64>();
        end.end_bytes = r.get<u64>();
        end.last_record = r.get<RecordNumber>();
        if (r.failed()) return fail(Code::kCorrupt, "stated ends cut short");
        h.ends.push_back(end);
    }
    u64 blocks = 0;
    for (u32 i = 0; i < entries; ++i) {
        EntryBody body;
        body.meta = r.get_bytes();
        body.blocks = r.get<u32>();
        blocks += body.blocks;
        if (r.failed() || blocks > h.data_blocks) return fail(Code::kCorrupt, "record entries cut short");
        if (sink) {
            body.first_crc_offset = static_cast<u32>(sink->stored_crcs.size());
            for (u32 b = 0; b < body.blocks; ++b) sink->stored_crcs.push_back(r.get<u32>());
            sink->entries.push_back(body);
        } else {
            (void)r.get_raw(u64{body.blocks} * 4);
        }
    }
    if (r.failed() || blocks != h.data_blocks || entries == 0 || h.acknowledged >= h.number)
        return fail(Code::kCorrupt, "record contradicts itself");
    return h;
}

// Plain checksums of the data blocks, compared with the stored ones.
Result<std::vector<u32>> verify_blocks(const BufferChain& data, const ParsedHeader& parsed, u64 salt) {
    const RecordHeader& h = parsed.header;
    u64 block = h.offset / k_block_bytes + h.header_blocks;
    std::vector<u32> plain = block_crcs(data);
    CORELET_ASSERT(plain.size() == h.data_blocks);
    for (u32 i = 0; i < h.data_blocks; ++i, ++block)
        if (bind_block_crc(plain[i], block_place(h.segment, salt, block)) != parsed.stored_crcs[i])
            return fail(Code::kCorrupt, "record data checksum", i);
    return plain;
}

}  // namespace

Result<RecordHeader> decode_header(Bytes bytes, SegmentId segment, u64 salt, u64 offset) {
    return parse_header(bytes, segment, salt, offset, nullptr);
}

Result<DecodedRecord> decode_record(const Buffer& bytes, SegmentId segment, u64 salt, u64 offset) {
    ParsedHeader parsed;
    TRY(parsed.header, parse_header(bytes, segment, salt, offset, &parsed));
    if (bytes.size() < parsed.header.size_bytes())
        return fail(Code::kInvalid, "record is longer", parsed.header.size_bytes());
    u64 const head_bytes = u64{parsed.header.header_blocks} * k_block_bytes;
    Buffer const data = bytes.slice(head_bytes, parsed.header.size_bytes() - head_bytes);
    TRY(auto plain, verify_blocks(BufferChain(data), parsed, salt));
    DecodedRecord out;
    u64 block = offset / k_block_bytes + parsed.header.header_blocks;
    usize at = 0;
    for (const EntryBody& body : parsed.entries) {
        LogEntry entry;
        entry.meta.assign(body.meta.begin(), body.meta.end());
        entry.blocks = BufferChain(data.slice(at, u64{body.blocks} * k_block_bytes));
        entry.crcs.assign(plain.begin() + body.first_crc_offset,
                          plain.begin() + body.first_crc_offset + body.blocks);
        out.entry_first_block.push_back(static_cast<u32>(block));
        block += body.blocks;
        at += u64{body.blocks} * k_block_bytes;
        out.entries.push_back(std::move(entry));
    }
    out.header = std::move(parsed.header);
    return out;
}

Result<VerifiedRecord> verify_record(const BufferChain& bytes, SegmentId segment, u64 salt, u64 offset,
                                     bool blocks) {
    if (bytes.empty()) return fail(Code::kInvalid, "empty record");
    // The header is contiguous in all records we send; an odd split costs a copy.
    ParsedHeader parsed;
    Buffer head = bytes.parts().front();
    auto header = parse_header(head, segment, salt, offset, &parsed);
    while (!header && header.error().code == Code::kInvalid && header.error().detail > head.size() &&
           header.error().detail <= bytes.size()) {
        parsed = {};
        head = bytes.slice(0, header.error().detail).flatten();
        header = parse_header(head, segment, salt, offset, &parsed);
    }
    if (!header) return std::unexpected(header.error());
    if (bytes.size() != header->size_bytes()) return fail(Code::kInvalid, "record size differs from its header");
    u64 const head_bytes = u64{header->header_blocks} * k_block_bytes;
    parsed.header = *std::move(header);
    VerifiedRecord out;
    out.block_crcs = block_crcs(BufferChain(head.slice(0, head_bytes)));
    std::vector<u32> plain = parsed.stored_crcs;
    if (blocks) {
        TRY(plain, verify_blocks(bytes.slice(head_bytes, bytes.size() - head_bytes), parsed, salt));
    } else {
        u64 block = offset / k_block_bytes + parsed.header.header_blocks;
        for (u32& crc : plain) crc = unbind_block_crc(crc, block_place(segment, salt, block++));
    }
    out.block_crcs.insert(out.block_crcs.end(), plain.begin(), plain.end());
    out.header = std::move(parsed.header);
    return out;
}

}  // namespace corelet
