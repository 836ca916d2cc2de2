#include "mesh/slot_table.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet::mesh {

u32 slot_of(ChunkId chunk, unsigned locality, u32 slots) {
    CORELET_ASSERT(std::has_single_bit(slots) && locality < 64);
    return static_cast<u32>(hash64(chunk.space.v, chunk.seq >> locality) & (slots - 1));
}

u32 slots_for(usize corelets) {
    u64 const wanted = std::min<u64>(std::max<u64>(corelets, 1) * k_slots_per_corelet, k_slots_max);
    return static_cast<u32>(std::bit_ceil(wanted));
}

Result<TablePtr> SlotTable::make(MapEpoch epoch, u32 slots, unsigned width, std::span<const CoreletId> cells) {
    if (cells.size() != static_cast<usize>(slots) * width)
        return fail(Code::kInvalid, "table: wrong number of cells");
    std::vector<CoreletId> members;
    for (CoreletId id : cells) {
        if (!id.is_zero()) members.push_back(id);
    }
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    if (members.size() > k_corelets_max) return fail(Code::kInvalid, "table: too many members");
    std::vector<u16> indexes;
    indexes.reserve(cells.size());
    for (CoreletId id : cells) {
        auto const found = std::lower_bound(members.begin(), members.end(), id);
        indexes.push_back(id.is_zero() ? u16{0} : static_cast<u16>(found - members.begin() + 1));
    }
    return from_indexes(epoch, slots, width, std::move(members), std::move(indexes));
}

Result<TablePtr> SlotTable::from_indexes(MapEpoch epoch, u32 slots, unsigned width, std::vector<CoreletId> members,
                                         std::vector<u16> indexes) {
    if (!std::has_single_bit(slots) || slots < k_slots_min || slots > k_slots_max) {
        return fail(Code::kInvalid, "table: slots must be a power of two from 64 to 65536");
    }
    if (width < 1 || width > k_width_max) return fail(Code::kInvalid, "table: width must be 1 to 24");
    if (indexes.size() != static_cast<usize>(slots) * width)
        return fail(Code::kInvalid, "table: wrong number of cells");
    if (members.size() > k_corelets_max) return fail(Code::kInvalid, "table: too many members");
    for (usize i = 0; i < members.size(); ++i) {
        bool const ascending = i == 0 || members[i - 1] < members[i];
        if (members[i].is_zero() || !ascending) return fail(Code::kInvalid, "table: members out of order");
    }
    for (usize row = 0; row < indexes.size(); row += width) {
        for (usize i = row; i < row + width; ++i) {
            if (indexes[i] > members.size()) return fail(Code::kInvalid, "table: a cell names no member");
            bool const twice = indexes[i] != 0 && std::find(indexes.begin() + static_cast<i64>(row),
                                                            indexes.begin() + static_cast<i64>(i),
                                                            indexes[i]) != indexes.begin() + static_cast<i64>(i);
            if (twice) return fail(Code::kInvalid, "table: a corelet stands twice in a slot");
        }
    }
    std::shared_ptr<SlotTable> table(new SlotTable);
    table->epoch_ = epoch;
    table->slots_ = slots;
    table->width_ = width;
    table->members_ = std::move(members);
    table->indexes_ = std::move(indexes);
    table->hash_ = table->content_hash();
    return TablePtr(std::move(table));
}

// Over the members' ids, not their indexes: a member that stands nowhere does not count.
u64 SlotTable::content_hash() const {
    u64 hash = hash64(slots_, width_);
    for (u16 index : indexes_) hash = mix64(hash ^ (index == 0 ? 0 : members_[index - 1U].v));
    return hash;
}

std::vector<CoreletId> SlotTable::row(u32 slot) const {
    CORELET_ASSERT(slot < slots_);
    std::vector<CoreletId> out;
    out.reserve(width_);
    for (unsigned i = 0; i < width_; ++i) out.push_back(at(slot, i));
    return out;
}

std::optional<u8> SlotTable::position_of(u32 slot, CoreletId corelet) const {
    CORELET_ASSERT(slot < slots_ && !corelet.is_zero());
    for (unsigned i = 0; i < width_; ++i) {
        if (at(slot, i) == corelet) return static_cast<u8>(i);
    }
    return std::nullopt;
}

bool SlotTable::has(CoreletId corelet) const {
    return std::binary_search(members_.begin(), members_.end(), corelet);
}

std::vector<std::pair<u32, u8>> SlotTable::places_of(CoreletId corelet) const {
    std::vector<std::pair<u32, u8>> places;
    auto const found = std::lower_bound(members_.begin(), members_.end(), corelet);
    if (found == members_.end() || *found != corelet) return places;
    u16 const index = static_cast<u16>(found - members_.begin() + 1);
    for (usize i = 0; i < indexes_.size(); ++i) {
        if (indexes_[i] == index) places.emplace_back(static_cast<u32>(i / width_), static_cast<u8>(i % width_));
    }
    return places;
}

TablePtr SlotTable::with_replaced(MapEpoch epoch, CoreletId from, CoreletId to) const {
    CORELET_ASSERT(!has(to) && !to.is_zero() && !from.is_zero());
    std::vector<CoreletId> cells;
    cells.reserve(indexes_.size());
    for (u16 index : indexes_) {
        CoreletId const id = index == 0 ? CoreletId{} : members_[index - 1U];
        cells.push_back(id == from ? to : id);
    }
    return make(epoch, slots_, width_, cells).value();
}

TablePtr SlotTable::with_epoch(MapEpoch epoch) const {
    std::shared_ptr<SlotTable> copy(new SlotTable(*this));
    copy->epoch_ = epoch;
    return copy;
}

}  // namespace corelet::mesh
