// A device whose metadata is gone: what its fragments' headers tell. It may include the deleted, and knows no
// segment and no fence; so everything found comes back as strays of a corelet that has forgotten (protocols 10.3).
#include <fmt/format.h>

#include "device/store_core.h"
#include "rt/combine.h"

namespace corelet {

namespace {

constexpr u64 k_scan_depth = 32;

struct Found {
    FragmentEntry entry;
    std::vector<UnitExtent> extents;
    u64 written_seq = 0;
};

bool is_plausible(const StoredHeader& header, u64 unit, u64 units) {
    if (header.extents.front().start != unit) return false;
    u64 total = 0;
    for (const UnitExtent& extent : header.extents) {
        if (extent.units == 0 || extent.end() > units) return false;
        total += extent.units;
    }
    FragmentShape const shape = header.shape();
    return total == shape.total_units && header.extents.front().units * k_unit_blocks >= shape.header_blocks;
}

}  // namespace

Task<void> StoreCore::scan_fragments() {
    meta_ = Metadata{};
    headers_.clear();
    u64 const units = super_.layout.data_units();
    space_ = std::make_unique<Allocator>(units);
    std::vector<Found> found;
    for (u64 unit = 0; unit < units; unit += k_scan_depth) {
        std::vector<Task<Result<Buffer>>> reads;
        for (u64 u = unit; u < std::min(unit + k_scan_depth, units); ++u)
            reads.push_back(io_.read(super_.layout.device_offset(u), k_block_bytes, IoClass::kClient));
        std::vector<Result<Buffer>> const blocks = co_await join_all(std::move(reads));
        for (u64 i = 0; i < blocks.size(); ++i) {
            if (!blocks[i]) continue;
            u64 const header_blocks = peek_fragment_header(*blocks[i], super_.format_key);
            if (header_blocks == 0) continue;
            Result<HeaderCache::Header> const header =
                co_await read_header_at(unit + i, header_blocks, IoClass::kClient);
            if (header && is_plausible(**header, unit + i, units))
                found.push_back({(*header)->entry, (*header)->extents, (*header)->written_seq});
        }
    }
    // Of two that overlap or bear one name the younger is alive; the other one is what it overwrote or replaced.
    std::ranges::stable_sort(found, [](const Found& a, const Found& b) { return a.written_seq > b.written_seq; });
    for (const Found& fragment : found) {
        auto const is_free = [&](const UnitExtent& extent) {
            for (u64 unit = extent.start; unit < extent.end(); ++unit)
                if (!space_->is_free(unit)) return false;
            return true;
        };
        if (meta_.fragments().find(fragment.entry.id()) || !std::ranges::all_of(fragment.extents, is_free))
            continue;
        bool claimed = true;
        for (const UnitExtent& extent : fragment.extents) claimed = space_->claim(extent) && claimed;
        if (claimed) meta_.insert_found(fragment.entry, fragment.extents);
    }
    space_->raise_frontier(units);  // what was ever written is not known any more: nothing is taken for fresh
    log_warning(env_.log, "device.scanned", [&] {
        return fmt::format("{} fragments found by their headers, {} kept", found.size(), meta_.fragments().size());
    });
}

}  // namespace corelet
