// device/journal_format.h and metadata.h: batches, identifiers and half headers of a journal, and what its records
// and snapshots say. As they came and with checksums made right.
#include "device/journal_format.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/codec.h"
#include "device/metadata.h"

using namespace corelet;

namespace {

constexpr u64 k_key = 0x4B45'59;
constexpr usize k_bytes_max = 16 * k_block_bytes;

void put(std::vector<u8>& bytes, usize at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

void check_batch(const std::vector<u8>& bytes) {
    auto const header = peek_batch(Bytes(bytes).first(k_block_bytes), k_key);
    if (!header || header->total_bytes() > bytes.size()) return;
    Bytes const all = Bytes(bytes).first(header->total_bytes());
    if (!verify_batch(*header, all)) return;
    u32 records = 0;
    Metadata metadata;
    for_each_record(*header, all, [&](u64 number, Bytes record) {
        CORELET_ASSERT(number == header->first_record + records);
        ++records;
        (void)metadata.apply(record);
    });
    CORELET_ASSERT(records == header->records);
}

void mend_batch(std::vector<u8>& bytes) {
    put(bytes, 0, u32{0x31424A43});
    put(bytes, 4, u32{1});
    put(bytes, 48, k_key);
    auto const header = peek_batch(Bytes(bytes).first(k_block_bytes), k_key);
    if (!header || header->total_bytes() > bytes.size()) return;
    u64 const head = XXH3_64bits_withSeed(bytes.data(), k_batch_header_bytes - 8, k_key);
    u64 const sum = XXH3_64bits_withSeed(bytes.data() + k_batch_header_bytes,
                                         header->total_bytes() - k_batch_header_bytes, head);
    put(bytes, k_batch_header_bytes - 8, sum);
}

// Blocks that carry their checksum in their last 8 bytes.
void check_block(std::vector<u8> block) {
    (void)decode_identifier(block, k_key);
    (void)decode_half_header(block, k_key);
    for (u32 magic : {0x31494A43U, 0x31484A43U}) {
        put(block, 0, magic);
        put(block, 4, u32{1});
        put(block, magic == 0x31494A43U ? 32U : 56U, k_key);
        put(block, k_block_bytes - 8, u64{XXH3_64bits_withSeed(block.data(), k_block_bytes - 8, k_key)});
        if (auto const identifier = decode_identifier(block, k_key))
            CORELET_ASSERT(decode_identifier(encode_identifier(*identifier), k_key) == identifier);
        if (auto const half = decode_half_header(block, k_key))
            CORELET_ASSERT(decode_half_header(encode_half_header(*half), k_key) == half);
    }
}

// A state and then records on it: whatever they say, it stays one that can be written and read back.
void check_metadata(Bytes input) {
    Reader r(input);
    auto state = Metadata::decode(r.get_raw(r.get<u16>()));
    Metadata metadata = state ? *std::move(state) : Metadata();
    for (int i = 0; i < 64 && !r.failed() && r.remaining() > 0; ++i) (void)metadata.apply(r.get_raw(r.get<u8>()));
    std::vector<u8> const encoded = metadata.encode();
    auto const again = Metadata::decode(encoded);
    CORELET_ASSERT(again && again->encode() == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size > k_bytes_max) return 0;
    check_metadata(Bytes(data, size));
    (void)Metadata::decode(Bytes(data, size));
    std::vector<u8> bytes(data, data + size);
    bytes.resize(std::max<usize>(round_up(size, k_block_bytes), k_block_bytes));
    check_block({bytes.begin(), bytes.begin() + k_block_bytes});
    check_batch(bytes);
    mend_batch(bytes);
    check_batch(bytes);
    return 0;
}
