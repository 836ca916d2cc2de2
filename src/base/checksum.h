// CRC32C (Castagnoli, RFC 3720 appendix B.4), and the arithmetic that binds a block's checksum to its place.
//
// A block's CRC is computed once, where the data enters. What is stored is the CRC of (place || data), which CRC
// arithmetic gets from the two parts without touching the data again; a block read from a wrong place, or left by
// an earlier tenant, therefore fails. `bind` is its own inverse in the data's CRC: unbind gives back the plain one.
#pragma once

#include "base/bytes.h"
#include "base/types.h"

namespace corelet {

[[nodiscard]] u32 crc32c(Bytes bytes, u32 continued_from = 0);
[[nodiscard]] inline u32 crc32c(const Buffer& buffer, u32 continued_from = 0) {
    return crc32c(buffer.bytes(), continued_from);
}
[[nodiscard]] u32 crc32c_chain(const BufferChain& chain, u32 continued_from = 0);
// Plain CRC of each 4 KiB block of the chain, whose size is a multiple of that.
[[nodiscard]] std::vector<u32> block_crcs(const BufferChain& chain);
// CRC of a || b from the CRCs of a and of b and b's length.
[[nodiscard]] u32 crc32c_combine(u32 crc_a, u32 crc_b, u64 length_b);
// CRC of a run of 4 KiB blocks from theirs, without touching the data; `continued_from`: the CRC of what stands
// before.
[[nodiscard]] u32 crc32c_of_blocks(std::span<const u32> block_crcs, u32 continued_from = 0);
// CRC of 4096 zero bytes: a block never written reads as zeros and has this checksum.
[[nodiscard]] u32 crc32c_zero_block();

// Where a block lies: 64-bit names that are mixed into its stored checksum.
struct Place {
    u64 a = 0, b = 0, c = 0;
};
// Stored checksum of a 4 KiB block with plain CRC `data_crc` at `place`, and back.
[[nodiscard]] u32 bind_block_crc(u32 data_crc, const Place& place);
[[nodiscard]] inline u32 unbind_block_crc(u32 stored, const Place& place) {
    return bind_block_crc(stored, place);
}

}  // namespace corelet
