// What lies on the device before a fragment's data: who it is and a checksum for each of its blocks, bound to the
// place. It alone suffices to know the fragment again when the metadata is lost. Bytes: docs/format/device.md.
#pragma once

#include <memory>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "device/fragment_index.h"
#include "device/types.h"

namespace corelet {

inline constexpr usize k_fragment_header_fixed_bytes = 1152;

struct StoredHeader {
    FragmentEntry entry;  // first_unit is that of extents[0]
    FragmentHeader fields;
    u64 written_seq =
        0;  // grows with each header written on the device: of two that overlap, the higher one is alive
    std::vector<UnitExtent> extents;
    std::vector<u32> stored_crcs;  // bound to the place, one a block
    [[nodiscard]] FragmentShape shape() const {
        return fragment_shape(entry.blocks, extents.size(), entry.is(FragmentEntry::k_adopted));
    }
    [[nodiscard]] u32 plain_crc(u64 block) const;
};

[[nodiscard]] Place fragment_place(const FragmentId& id, u64 block);
[[nodiscard]] u32 content_tag_of(const std::vector<u32>& plain_crcs);
// CRC32C of each 4 KiB block of `data`, whose size is a multiple of 4 KiB.
[[nodiscard]] std::vector<u32> block_crcs_of(const BufferChain& data);

// Whole blocks: shape().header_blocks of them.
[[nodiscard]] Buffer encode_fragment_header(const StoredHeader& header, u64 format_key);
// How many blocks the header has whose first block this is; 0 if it is none.
[[nodiscard]] u64 peek_fragment_header(Bytes first_block, u64 format_key);
// kCorrupt.
[[nodiscard]] Result<StoredHeader> decode_fragment_header(Bytes blocks, u64 format_key);

}  // namespace corelet
