#include "device/layout.h"

#include <fmt/format.h>

#include "base/hash.h"
#include "device/store.h"

namespace corelet {

namespace {
constexpr u64 k_half_bytes_min = 256 * k_kib;
constexpr u64 k_witness_metadata_half = 2 * k_mib;
constexpr u64 k_half_bytes_max = 1 * k_gib;
constexpr u64 k_data_units_min = 16;

// A fragment takes some 60 bytes in a snapshot and at least one unit of data: this holds even a device full of the
// smallest ones, with as much again for the log.
u64 default_metadata_half(const LayoutRequest& request) {
    if (request.witness) return k_witness_metadata_half;
    return std::clamp(round_up(request.device_bytes / 512, k_unit_bytes), 4 * k_mib, k_half_bytes_max);
}

u64 default_consensus_half(const LayoutRequest& request) {
    // Never less than a catalog at its bounds takes (catalog/limits.h), on whatever it lies.
    if (!request.witness)
        return std::clamp(round_up(request.device_bytes / 64, k_unit_bytes), 12 * k_mib, 64 * k_mib);
    // A witness has nothing else: all the rest of its small file.
    u64 const rest =
        round_down(request.device_bytes, k_block_bytes) - 4 * k_unit_bytes - 2 * k_witness_metadata_half;
    return std::min(round_down(rest / 2, k_unit_bytes), 64 * k_mib);
}

bool is_sound_half(u64 bytes) {
    return bytes >= k_half_bytes_min && bytes <= k_half_bytes_max && bytes % k_block_bytes == 0;
}

u64 front_bytes(const Layout& layout) {
    return Layout::k_metadata_offset + 2 * layout.metadata_half_bytes + 2 * layout.consensus_half_bytes;
}
u64 needed_bytes(const Layout& layout) {
    u64 const data = layout.witness ? 0 : k_data_units_min * k_unit_bytes;
    return round_up(front_bytes(layout), k_unit_bytes) + data + 2 * Layout::k_ring_bytes + k_block_bytes;
}
}  // namespace

JournalArea Layout::metadata_area(u64 format_key) const {
    JournalArea area;
    area.half_offset = {k_metadata_offset, k_metadata_offset + metadata_half_bytes};
    area.half_bytes = metadata_half_bytes;
    area.ring_offset = rings_offset();
    area.key = hash64(format_key, 1);
    return area;
}

JournalArea Layout::consensus_area(u64 format_key) const {
    u64 const start = k_metadata_offset + 2 * metadata_half_bytes;
    JournalArea area;
    area.half_offset = {start, start + consensus_half_bytes};
    area.half_bytes = consensus_half_bytes;
    area.ring_offset = rings_offset() + k_ring_bytes;
    area.key = hash64(format_key, 2);
    return area;
}

u64 Layout::data_offset() const {
    return round_up(front_bytes(*this), k_unit_bytes);
}

u64 Layout::data_units() const {
    if (witness) return 0;
    CORELET_ASSERT(rings_offset() >= data_offset());
    return std::min<u64>((rings_offset() - data_offset()) / k_unit_bytes, UINT32_MAX - 1);
}

bool is_sound(const Layout& layout) {
    return is_sound_half(layout.metadata_half_bytes) && is_sound_half(layout.consensus_half_bytes) &&
           layout.device_bytes % k_block_bytes == 0 && needed_bytes(layout) <= layout.device_bytes;
}

Result<Layout> plan_layout(const LayoutRequest& request) {
    bool const chosen = request.metadata_half_bytes == 0 || request.consensus_half_bytes == 0;
    u64 const least = request.witness ? k_witness_bytes_min : k_device_bytes_min;
    if (chosen && request.device_bytes < least)
        return fail(Code::kNoSpace,
                    fmt::format("the device has {} bytes; {} needs at least {}", request.device_bytes,
                                request.witness ? "a witness" : "a storage device", least));
    Layout layout;
    layout.device_bytes = round_down(request.device_bytes, k_block_bytes);
    layout.witness = request.witness;
    layout.metadata_half_bytes =
        request.metadata_half_bytes ? request.metadata_half_bytes : default_metadata_half(request);
    layout.consensus_half_bytes =
        request.consensus_half_bytes ? request.consensus_half_bytes : default_consensus_half(request);
    if (!is_sound_half(layout.metadata_half_bytes) || !is_sound_half(layout.consensus_half_bytes))
        return fail(Code::kInvalid, "a journal's half is a multiple of 4 KiB between 256 KiB and 1 GiB");
    if (needed_bytes(layout) > layout.device_bytes)
        return fail(Code::kNoSpace, fmt::format("the device has {} bytes; this layout needs at least {}",
                                                request.device_bytes, needed_bytes(layout)));
    return layout;
}

}  // namespace corelet
