// The incremental half of the strategies that share by weight: from a previous table to the next one with as few
// moves as shares ask for.
//
// 1. Whoever is gone or leaving vacates, and so does who exceeds the domains' cap. 2. Vacancies go to those below
// their quota, where the row's spread gains most. 3. Those above their quota give up places to those below, one a
// row and pass.
// 4. What found no direct way goes through a third one. 5. What is left: beyond the quota; back to who was leaving;
// beyond the cap (copies come before spread); else a hole. Nobody else moves, and nobody changes position within a
// row.
#pragma once

#include <utility>
#include <vector>

#include "mesh/board.h"

namespace corelet::mesh {

class Refill {
  public:
    explicit Refill(const PlacementRequest& request) : request_(request) {}

    // The previous table's cells in candidate numbers; slots are doubled as needed, the lost are holes.
    [[nodiscard]] Board::Cells inherited_cells() const;
    void vacate(Board& board);
    void run(Board& board);
    // Whoever was leaving keeps its places that nobody has taken.
    void keep_leavers(Board& board) const;

  private:
    struct Cell {
        u32 slot = 0;
        unsigned position = 0;
        u16 before = Board::k_nobody;  // who was leaving
    };

    void vacate_over_cap(Board& board, u32 slot);
    void list_receivers(const Board& board);
    void received(const Board& board, u16 who);
    [[nodiscard]] u16 best_receiver(const Board& board, u32 slot, unsigned position, i64 cost_max) const;
    void fill_vacancies(Board& board);
    [[nodiscard]] bool shed_one(Board& board, u32 slot, i64 cost_max);
    void shed(Board& board);
    [[nodiscard]] bool fill_through_third(Board& board, u32 slot, unsigned position);
    void mend(Board& board);
    void fill_by_need(Board& board, const Cell& cell);
    [[nodiscard]] u32 nth_slot(u32 n) const;

    const PlacementRequest& request_;
    std::vector<Cell> vacancies_;
    std::vector<u16> receivers_;      // those below their quota
    std::vector<usize> receiver_at_;  // by candidate: place in receivers_
    std::vector<u32> wanted_;         // by candidate: what it was below its quota at first
    u64 search_budget_ = 0;           // cells that may still be looked at on ways through a third
};

}  // namespace corelet::mesh
