#include "device/journal_format.h"

#include <xxhash.h>

#include "base/codec.h"

namespace corelet {

namespace {
constexpr u32 k_batch_magic = 0x31424A43;       // "CJB1"
constexpr u32 k_identifier_magic = 0x31494A43;  // "CJI1"
constexpr u32 k_half_magic = 0x31484A43;        // "CJH1"
constexpr usize k_batch_checksum_at = k_batch_header_bytes - 8;

u64 hash_of(Bytes bytes, u64 seed) {
    return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

// A batch's checksum covers its header up to the checksum, then everything behind it, padding included.
u64 batch_checksum(Bytes all, u64 key) {
    u64 const head = hash_of(all.first(k_batch_checksum_at), key);
    return hash_of(all.subspan(k_batch_header_bytes), head);
}

// One block: the fields, zeros, and a checksum over all of it in the last 8 bytes.
Buffer seal_block(const Writer& fields, u64 key) {
    CORELET_ASSERT(fields.size() <= k_block_bytes - 8);
    Buffer block = Buffer::zeroed(k_block_bytes);
    std::memcpy(block.mutable_data(), fields.data().data(), fields.size());
    u64 const checksum = hash_of(block.bytes().first(k_block_bytes - 8), key);
    std::memcpy(block.mutable_data() + k_block_bytes - 8, &checksum, sizeof checksum);
    return block;
}
bool is_sealed_block(Bytes block, u64 key) {
    CORELET_ASSERT(block.size() == k_block_bytes);
    u64 checksum = 0;
    std::memcpy(&checksum, block.data() + k_block_bytes - 8, sizeof checksum);
    return checksum == hash_of(block.first(k_block_bytes - 8), key);
}

// The lengths of the records add up to the payload.
bool records_fit(const BatchHeader& header, Bytes all) {
    Reader r(all.subspan(k_batch_header_bytes, header.payload_bytes));
    for (u32 i = 0; i < header.records && !r.failed(); ++i) static_cast<void>(r.get_bytes());
    return r.complete();
}
}  // namespace

EncodedBatch encode_batch(BatchHeader header, std::span<const std::vector<u8>> records) {
    u64 payload = 0;
    for (const auto& record : records) payload += record_cost(record.size());
    CORELET_ASSERT(!records.empty() && payload <= UINT32_MAX);
    header.records = static_cast<u32>(records.size());
    header.payload_bytes = static_cast<u32>(payload);
    Writer w;
    w.put(k_batch_magic).put(u32{1}).put(header.batch).put(header.first_record).put(header.records);
    w.put(header.payload_bytes).put(header.chain).put(header.key).put(header.session).put(u64{0});
    CORELET_ASSERT(w.size() == k_batch_checksum_at);
    Buffer bytes = Buffer::allocate(header.total_bytes());
    std::memcpy(bytes.mutable_data(), w.data().data(), w.size());
    usize at = k_batch_header_bytes;
    for (const auto& record : records) {
        u32 const size = static_cast<u32>(record.size());
        std::memcpy(bytes.mutable_data() + at, &size, sizeof size);
        if (size != 0) std::memcpy(bytes.mutable_data() + at + sizeof size, record.data(), size);
        at += record_cost(size);
    }
    std::memset(bytes.mutable_data() + at, 0, bytes.size() - at);
    u64 const checksum = batch_checksum(bytes, header.key);
    std::memcpy(bytes.mutable_data() + k_batch_checksum_at, &checksum, sizeof checksum);
    return {std::move(bytes), checksum};
}

std::optional<BatchHeader> peek_batch(Bytes first_block, u64 key) {
    Reader r(first_block);
    if (r.get<u32>() != k_batch_magic || r.get<u32>() != 1) return std::nullopt;
    BatchHeader header;
    header.batch = r.get<u64>();
    header.first_record = r.get<u64>();
    header.records = r.get<u32>();
    header.payload_bytes = r.get<u32>();
    header.chain = r.get<u64>();
    header.key = r.get<u64>();
    header.session = r.get<u64>();
    bool const plausible = !r.failed() && header.key == key && header.batch > 0 && header.first_record > 0 &&
                           header.records > 0 && header.first_record <= UINT64_MAX - header.records &&
                           header.payload_bytes >= 4 * u64{header.records};
    return plausible ? std::optional(header) : std::nullopt;
}

Result<u64> verify_batch(const BatchHeader& header, Bytes all) {
    CORELET_ASSERT(all.size() == header.total_bytes());
    u64 stored = 0;
    std::memcpy(&stored, all.data() + k_batch_checksum_at, sizeof stored);
    if (stored != batch_checksum(all, header.key)) return fail(Code::kCorrupt, "checksum of a batch is wrong");
    if (!records_fit(header, all)) return fail(Code::kCorrupt, "records of a batch do not fit its length");
    return stored;
}

Buffer encode_identifier(const BatchIdentifier& identifier) {
    Writer w;
    w.put(k_identifier_magic).put(u32{1}).put(identifier.batch).put(identifier.checksum);
    w.put(identifier.last_record).put(identifier.key);
    CORELET_ASSERT(identifier.memo.size() <= k_journal_memo_bytes_max);
    w.put_bytes(identifier.memo);
    return seal_block(w, identifier.key);
}

std::optional<BatchIdentifier> decode_identifier(Bytes block, u64 key) {
    Reader r(block);
    if (r.get<u32>() != k_identifier_magic || r.get<u32>() != 1 || !is_sealed_block(block, key))
        return std::nullopt;
    BatchIdentifier identifier;
    identifier.batch = r.get<u64>();
    identifier.checksum = r.get<u64>();
    identifier.last_record = r.get<u64>();
    identifier.key = r.get<u64>();
    auto const memo_bytes = r.get<u32>();
    if (identifier.key != key || memo_bytes > k_journal_memo_bytes_max) return std::nullopt;
    Bytes const memo = r.get_raw(memo_bytes);
    if (r.failed()) return std::nullopt;
    identifier.memo.assign(memo.begin(), memo.end());
    return identifier;
}

Buffer encode_half_header(const HalfHeader& header) {
    Writer w;
    w.put(k_half_magic).put(u32{1}).put(header.generation).put(header.through).put(header.next_batch);
    w.put(header.chain).put(header.state_bytes).put(header.state_checksum).put(header.key);
    return seal_block(w, header.key);
}

std::optional<HalfHeader> decode_half_header(Bytes block, u64 key) {
    Reader r(block);
    if (r.get<u32>() != k_half_magic || r.get<u32>() != 1 || !is_sealed_block(block, key)) return std::nullopt;
    HalfHeader header;
    header.generation = r.get<u64>();
    header.through = r.get<u64>();
    header.next_batch = r.get<u64>();
    header.chain = r.get<u64>();
    header.state_bytes = r.get<u64>();
    header.state_checksum = r.get<u64>();
    header.key = r.get<u64>();
    bool const sane = header.key == key && header.generation > 0 && header.next_batch > 0;
    return sane ? std::optional(header) : std::nullopt;
}

u64 state_checksum(Bytes state, u64 key) {
    return hash_of(state, key);
}

}  // namespace corelet
