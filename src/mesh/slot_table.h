// Slots and slot tables: from the name of a chunk to the corelets that keep its fragments, in one step.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/types.h"

namespace corelet::mesh {

inline constexpr u32 k_slots_min = 64;
inline constexpr u32 k_slots_max = 65'536;
inline constexpr u32 k_slots_per_corelet = 64;
inline constexpr usize k_corelets_max = 16'384;
inline constexpr unsigned k_width_max = 24;

// The slot of a chunk, pinned by golden vectors: hash(space, seq >> locality) mod slots. `slots` is a power of two,
// so slot s of a table of S slots becomes s and s + S in one of 2 S. locality 0 scatters; a larger one keeps
// 2^locality neighbouring numbers together.
[[nodiscard]] u32 slot_of(ChunkId chunk, unsigned locality, u32 slots);

// 64 for each corelet, rounded up to a power of two, at most 65,536.
[[nodiscard]] u32 slots_for(usize corelets);

// slot -> ordered corelets; position i keeps fragment i. A hole (nobody) stands where too few corelets were there.
// Immutable and shared: maps that differ elsewhere point to the same tables.
class SlotTable {
  public:
    // `cells` are slots x width members, by slot, nobody = CoreletId{}. Checked: slots a power of two within
    // bounds, 1 <= width <= 24, at most 16,384 different members, none twice in a slot; else kInvalid.
    [[nodiscard]] static Result<std::shared_ptr<const SlotTable>> make(MapEpoch epoch, u32 slots, unsigned width,
                                                                       std::span<const CoreletId> cells);
    // From members (ascending) and 1-based indexes into them, 0 = nobody: the compact form. Same checks.
    [[nodiscard]] static Result<std::shared_ptr<const SlotTable>> from_indexes(MapEpoch epoch, u32 slots,
                                                                               unsigned width,
                                                                               std::vector<CoreletId> members,
                                                                               std::vector<u16> indexes);

    [[nodiscard]] MapEpoch epoch() const { return epoch_; }
    // Of the contents, without the epoch. Corelets compare (epoch, hash) before they trust a table.
    [[nodiscard]] u64 hash() const { return hash_; }
    [[nodiscard]] u32 slots() const { return slots_; }
    [[nodiscard]] unsigned width() const { return width_; }
    [[nodiscard]] CoreletId at(u32 slot, unsigned position) const {
        u16 const index = indexes_[static_cast<usize>(slot) * width_ + position];
        return index == 0 ? CoreletId{} : members_[index - 1U];
    }
    [[nodiscard]] std::vector<CoreletId> row(u32 slot) const;
    [[nodiscard]] std::optional<u8> position_of(u32 slot, CoreletId corelet) const;
    // Everybody named anywhere in it, ascending.
    [[nodiscard]] const std::vector<CoreletId>& members() const { return members_; }
    [[nodiscard]] bool has(CoreletId corelet) const;
    // (slot, position) of each fragment place of a corelet, ascending.
    [[nodiscard]] std::vector<std::pair<u32, u8>> places_of(CoreletId corelet) const;
    [[nodiscard]] const std::vector<u16>& indexes() const { return indexes_; }

    // The same with `from` replaced by `to` everywhere, in the same positions. `to` must not be in it.
    [[nodiscard]] std::shared_ptr<const SlotTable> with_replaced(MapEpoch epoch, CoreletId from,
                                                                 CoreletId to) const;
    [[nodiscard]] std::shared_ptr<const SlotTable> with_epoch(MapEpoch epoch) const;

  private:
    SlotTable() = default;
    [[nodiscard]] u64 content_hash() const;
    MapEpoch epoch_;
    u64 hash_ = 0;
    u32 slots_ = 0;
    unsigned width_ = 0;
    std::vector<CoreletId> members_;
    std::vector<u16> indexes_;
};

using TablePtr = std::shared_ptr<const SlotTable>;

}  // namespace corelet::mesh
