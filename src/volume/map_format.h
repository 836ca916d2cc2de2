// The bytes of a volume's block map: entries, pages, and references to pages. Layout: docs/format/volume.md.
//
// The map is a tree of 16 KiB pages of fixed height. A leaf holds 1,024 entries, hence 4 MiB of the volume; a
// directory page holds 512 references to pages below it: 2 GiB at level 1, 1 TiB at level 2. The references to
// level 2 stand in the root. A page that was written is never changed: its next version lies elsewhere.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/types.h"

namespace corelet {

inline constexpr u32 k_page_bytes = 16 * 1024;
inline constexpr u32 k_page_blocks = k_page_bytes / k_block_bytes;
inline constexpr u32 k_leaf_entries = 1024;
inline constexpr u32 k_directory_entries = 512;
inline constexpr u8 k_root_level = 2;  // of the pages that the root refers to
inline constexpr u64 k_volume_bytes_max = 64 * k_tib;
inline constexpr u64 k_blocks_per_tib = k_tib / k_block_bytes;

// Where one 4 KiB block of the volume is. `container` is the seq of a segment or chunk in the volume's space; zero:
// no data, and `block` says how it reads.
struct BlockEntry {
    u64 container = 0;
    u32 block = 0;  // within the container
    u32 crc = 0;    // plain CRC32C of the block
    friend bool operator==(const BlockEntry&, const BlockEntry&) = default;
    [[nodiscard]] bool has_data() const { return container != 0; }
    [[nodiscard]] bool is_hole() const { return container == 0 && block == 0; }
    [[nodiscard]] bool names(u64 other_container, u32 other_block) const {
        return container == other_container && block == other_block;
    }
};
static_assert(sizeof(BlockEntry) == 16 && k_leaf_entries * sizeof(BlockEntry) == k_page_bytes);
// Reads as zeros and was asked to stay allocated (write zeroes without leave to trim).
inline constexpr BlockEntry k_zero_entry{0, 0x8000'0000, 0};

// Where a page lies: blocks [first_block, +4) of a map chunk. Null: every entry below it is a hole.
struct PageRef {
    u64 chunk = 0;
    u32 first_block = 0;
    u32 chunk_blocks = 0;  // of the whole chunk
    std::array<u32, k_page_blocks> crcs{};
    friend bool operator==(const PageRef&, const PageRef&) = default;
    [[nodiscard]] bool is_null() const { return chunk == 0; }
};
static_assert(sizeof(PageRef) == 32 && k_directory_entries * sizeof(PageRef) == k_page_bytes);

// One page in memory.
struct alignas(16) PageData {
    std::array<u8, k_page_bytes> bytes{};

    [[nodiscard]] BlockEntry entry(u32 index) const { return load<BlockEntry>(index); }
    void set_entry(u32 index, const BlockEntry& entry) { store(index, entry); }
    [[nodiscard]] PageRef ref(u32 index) const { return load<PageRef>(index); }
    void set_ref(u32 index, const PageRef& ref) { store(index, ref); }
    [[nodiscard]] bool is_all_null() const { return is_all_zero(bytes); }

  private:
    template <class T>
    [[nodiscard]] T load(u32 index) const {
        CORELET_ASSERT((index + 1) * sizeof(T) <= k_page_bytes);
        T out;
        std::memcpy(&out, bytes.data() + index * sizeof(T), sizeof(T));
        return out;
    }
    template <class T>
    void store(u32 index, const T& value) {
        CORELET_ASSERT((index + 1) * sizeof(T) <= k_page_bytes);
        std::memcpy(bytes.data() + index * sizeof(T), &value, sizeof(T));
    }
};

// Names a page of the tree. Level 0: leaf.
struct PageKey {
    u8 level = 0;
    u64 index = 0;
    friend constexpr auto operator<=>(const PageKey&, const PageKey&) = default;
    [[nodiscard]] PageKey parent() const { return {static_cast<u8>(level + 1), index / k_directory_entries}; }
    [[nodiscard]] u32 slot_in_parent() const { return static_cast<u32>(index % k_directory_entries); }
    // One word, for lookup.
    [[nodiscard]] u64 packed() const { return (u64{level} << 56) | index; }
};

[[nodiscard]] constexpr u64 leaf_of(u64 lba) {
    return lba / k_leaf_entries;
}
[[nodiscard]] constexpr u32 slot_of(u64 lba) {
    return static_cast<u32>(lba % k_leaf_entries);
}

// A run of blocks of the volume.
struct Extent {
    u64 lba = 0;
    u32 count = 0;
    friend bool operator==(const Extent&, const Extent&) = default;
    [[nodiscard]] u64 end() const { return lba + count; }
};
// The leaves that the run touches, appended to `out` without repeating its last one.
void append_leaves(const Extent& extent, std::vector<u64>& out);

}  // namespace corelet
