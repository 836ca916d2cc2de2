// The table a strategy works on: cells of candidate numbers, counts against quotas, and what a change of one cell
// does to the spread over the location tree.
#pragma once

#include <array>
#include <vector>

#include "base/assert.h"
#include "mesh/strategy.h"

namespace corelet::mesh {

class Board {
  public:
    static constexpr u16 k_nobody = 0xFFFF;
    using Cells = std::vector<u16>;

    // Counts come from `cells` (slots x width). quota: one number a candidate.
    Board(const PlacementRequest& request, Cells cells);
    // Sets the quotas, and from them how many fragments of a row each domain should have: its share rounded down or
    // up.
    void set_quotas(std::vector<u32> quotas);

    [[nodiscard]] u32 slots() const { return request_.slots; }
    [[nodiscard]] unsigned width() const { return request_.width; }
    [[nodiscard]] u16 at(u32 slot, unsigned position) const { return cells_[index(slot, position)]; }
    void set(u32 slot, unsigned position, u16 who);
    [[nodiscard]] u32 count(u16 who) const { return counts_[who]; }
    [[nodiscard]] u32 quota(u16 who) const { return quotas_[who]; }
    [[nodiscard]] bool is_open(u16 who) const { return open_[who] != 0; }
    [[nodiscard]] usize candidates() const { return open_.size(); }
    [[nodiscard]] const Cells& cells() const { return cells_; }

    [[nodiscard]] bool in_row(u32 slot, u16 who) const;
    // True if `who` may replace whoever is at (slot, position): not in the row yet, no domain beyond the cap.
    [[nodiscard]] bool may_enter(u32 slot, unsigned position, u16 who) const;
    // How much further from its even spread the row gets if `who` replaces whoever is at (slot, position); negative
    // is better. Larger domains weigh more.
    [[nodiscard]] i64 spread_cost(u32 slot, unsigned position, u16 who) const;
    // The row has more fragments in a domain of `who`, at any level, than its cap.
    [[nodiscard]] bool is_over_cap(u32 slot, u16 who) const;
    [[nodiscard]] u32 cap() const { return caps_[static_cast<usize>(request_.level)]; }
    // 0: none at that level.
    [[nodiscard]] u32 cap(usize level) const { return caps_[level]; }
    // Dense number of its domain of that level.
    [[nodiscard]] u32 domain(u16 who, usize level) const { return domains_[who][level]; }
    [[nodiscard]] Placement placement() const;
    // Candidates in the order of the location tree: each domain of each level is one stretch of it.
    [[nodiscard]] std::vector<u16> tree_order() const;

  private:
    // Fragments of one row that a domain should have: between floor and ceil.
    struct Fair {
        u32 floor = 0;
        u32 ceil = 0;
    };
    [[nodiscard]] usize index(u32 slot, unsigned position) const {
        return static_cast<usize>(slot) * request_.width + position;
    }
    void number_domains();
    void find_caps();
    // Fragments of the row, not counting `position`, in the domain of `who` at `level`.
    [[nodiscard]] u32 in_domain(u32 slot, unsigned position, u16 who, usize level) const;

    const PlacementRequest& request_;
    Cells cells_;
    std::vector<u32> counts_;
    std::vector<u32> quotas_;
    std::vector<u8> open_;
    std::vector<std::array<u32, k_level_count>> domains_;  // by candidate, then level
    std::array<std::vector<Fair>, k_level_count> fair_;    // by level, then domain
    std::array<u32, k_level_count> caps_{};                // 0: none
};

}  // namespace corelet::mesh
