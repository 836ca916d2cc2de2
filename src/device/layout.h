// Where things lie on a device: a function of its size and of two numbers that its superblock keeps.
#pragma once

#include <array>

#include "base/result.h"
#include "device/types.h"

namespace corelet {

// One journal's places: two halves near the start, a ring of identifiers near the end.
struct JournalArea {
    std::array<u64, 2> half_offset{};
    u64 half_bytes = 0;
    u64 ring_offset = 0;
    u64 key = 0;  // seeds every checksum, so that another format's or journal's leftovers never parse
};
inline constexpr u32 k_ring_slots = 8;

struct Layout {
    u64 device_bytes = 0;  // rounded down to 4 KiB
    u64 metadata_half_bytes = 0;
    u64 consensus_half_bytes = 0;
    bool witness = false;

    static constexpr u64 k_superblock_a = 0;
    static constexpr u64 k_metadata_offset = k_unit_bytes;
    static constexpr u64 k_ring_bytes = k_ring_slots * k_block_bytes;

    [[nodiscard]] u64 superblock_b() const { return device_bytes - k_block_bytes; }
    [[nodiscard]] JournalArea metadata_area(u64 format_key) const;
    [[nodiscard]] JournalArea consensus_area(u64 format_key) const;
    [[nodiscard]] u64 data_offset() const;
    [[nodiscard]] u64 data_units() const;
    [[nodiscard]] u64 rings_offset() const { return superblock_b() - 2 * k_ring_bytes; }
    [[nodiscard]] u64 device_offset(u64 unit) const { return data_offset() + unit * k_unit_bytes; }
};

struct LayoutRequest {
    u64 device_bytes = 0;
    bool witness = false;
    u64 metadata_half_bytes = 0;   // 0: chosen
    u64 consensus_half_bytes = 0;  // 0: chosen
};
// kNoSpace when the device is too small, kInvalid for halves that are no multiple of 4 KiB or below 256 KiB.
[[nodiscard]] Result<Layout> plan_layout(const LayoutRequest& request);
// True if the areas fit the device as described; for a layout that was read.
[[nodiscard]] bool is_sound(const Layout& layout);

}  // namespace corelet
