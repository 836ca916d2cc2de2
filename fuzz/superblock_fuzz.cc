// device/superblock.h and fragment_header.h: blocks of a strange or damaged device, as they came and with their
// checksum made right.
#include "device/superblock.h"

#include <xxhash.h>

#include "base/assert.h"
#include "device/fragment_header.h"

using namespace corelet;

namespace {

constexpr u64 k_key = 0x0123'4567'89AB'CDEF;
constexpr usize k_bytes_max = 32 * k_block_bytes;

void check_superblock(Bytes block) {
    for (u32 copy : {0U, 1U}) {
        auto const superblock = decode_superblock(block, copy);
        if (!superblock) continue;
        auto const again = decode_superblock(encode_superblock(*superblock, copy), copy);
        CORELET_ASSERT(again && *again == *superblock);
        CORELET_ASSERT(!decode_superblock(block, 1 - copy), "a copy passes for the other place's");
        CORELET_ASSERT(choose_superblock(*superblock, fail(Code::kCorrupt)).has_value());
    }
}

void check_fragment(Bytes blocks) {
    u64 const count = peek_fragment_header(blocks, k_key);
    auto const header = decode_fragment_header(blocks, k_key);
    if (!header) return;
    CORELET_ASSERT(count * k_block_bytes == blocks.size());
    CORELET_ASSERT(header->stored_crcs.size() == header->entry.blocks);
    CORELET_ASSERT(decode_fragment_header(encode_fragment_header(*header, k_key), k_key).has_value());
}

void put(std::vector<u8>& bytes, usize at, auto value) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, usize size) {
    if (size > k_bytes_max) return 0;
    std::vector<u8> bytes(data, data + size);
    bytes.resize(std::max<usize>(round_up(size, k_block_bytes), k_block_bytes));
    check_superblock(Bytes(bytes).first(k_block_bytes));
    check_fragment(bytes);

    std::vector<u8> block(bytes.begin(), bytes.begin() + k_block_bytes);
    std::memcpy(block.data(), "CORELET\x01", 8);
    put(block, 8, u32{1});
    put(block, k_block_bytes - 8, u64{XXH3_64bits(block.data(), k_block_bytes - 8)});
    check_superblock(block);

    put(bytes, 0, u32{0x31484643});
    put(bytes, 4, u16{1});
    put(bytes, 8, k_key);
    u64 const wanted = peek_fragment_header(bytes, k_key) * k_block_bytes;
    if (wanted == 0 || wanted > k_bytes_max) return 0;
    bytes.resize(wanted);
    u64 const head = XXH3_64bits_withSeed(bytes.data(), 96, k_key);
    put(bytes, 96, u64{XXH3_64bits_withSeed(bytes.data() + 104, bytes.size() - 104, head)});
    check_fragment(bytes);
    return 0;
}
