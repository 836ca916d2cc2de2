// Which fragments are on the device and where: 32 bytes each in sorted blocks, about 45 bytes with what the blocks
// leave free (measured in fragment_index_test.cc). In id order, with digests by pinned hash that cost nothing to
// ask.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "device/types.h"

namespace corelet {

struct FragmentEntry {
    u64 space = 0;
    u64 seq = 0;
    u32 first_unit = 0;  // of the first extent
    u32 blocks = 0;      // of data
    u32 content_tag = 0;
    u8 position = 0;
    u8 k = 1;
    u8 m = 0;
    u8 flags = 0;

    static constexpr u8 k_quarantined = 1;
    static constexpr u8 k_adopted = 2;    // the header lies in an extent of its own
    static constexpr u8 k_scattered = 4;  // more than one extent: they are in the side table
    [[nodiscard]] FragmentId id() const { return {{SpaceId(space), seq}, position}; }
    [[nodiscard]] bool is(u8 flag) const { return (flags & flag) != 0; }
    [[nodiscard]] u64 bytes() const { return u64{blocks} * k_block_bytes; }
    friend bool operator==(const FragmentEntry&, const FragmentEntry&) = default;
};
static_assert(sizeof(FragmentEntry) == 32);

class FragmentIndex {
  public:
    static constexpr usize k_digest_buckets = 1024;

    FragmentIndex();
    ~FragmentIndex();
    FragmentIndex(FragmentIndex&&) noexcept;
    FragmentIndex& operator=(FragmentIndex&&) noexcept;

    // Valid until the index changes.
    [[nodiscard]] const FragmentEntry* find(const FragmentId& id) const;
    [[nodiscard]] FragmentEntry* find(const FragmentId& id);
    // It must not be there yet. `extents` in the order of their bytes.
    void insert(FragmentEntry entry, const std::vector<UnitExtent>& extents);
    // It must be there.
    void erase(const FragmentId& id);
    [[nodiscard]] std::vector<UnitExtent> extents_of(const FragmentEntry& entry) const;

    [[nodiscard]] u64 size() const { return size_; }
    // Entries in id order after `after`, or all; until `visit` returns false.
    void for_each_after(const std::optional<FragmentId>& after,
                        const std::function<bool(const FragmentEntry&)>& visit) const;
    [[nodiscard]] FragmentDigest digest_bucket(usize bucket) const { return digests_[bucket]; }
    [[nodiscard]] static u64 digest_hash(const ChunkId& id);
    [[nodiscard]] static usize bucket_of(const ChunkId& id) { return digest_hash(id) >> 54; }
    [[nodiscard]] usize memory_bytes() const;

  private:
    struct Block;
    // Index of the block where `id` is or would be.
    [[nodiscard]] usize block_for(const FragmentId& id) const;
    void split(usize index);

    std::vector<std::unique_ptr<Block>> blocks_;  // never empty ones, but for a sole first
    std::map<FragmentId, std::vector<UnitExtent>> scattered_;
    std::vector<FragmentDigest> digests_;
    u64 size_ = 0;
};

// How a fragment of `blocks` data blocks lies in its extents: header blocks, then data blocks; of an adopted one
// the header fills whole units.
struct FragmentShape {
    u64 header_blocks = 0;
    u64 data_start_block = 0;
    u64 total_units = 0;
};
[[nodiscard]] FragmentShape fragment_shape(u64 blocks, usize extents, bool adopted);
// Units of an unscattered new fragment.
[[nodiscard]] inline u64 fragment_units(u64 blocks) {
    return fragment_shape(blocks, 1, false).total_units;
}

}  // namespace corelet
