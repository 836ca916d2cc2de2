// What clients did to the blocks of a volume and what they were told, and whether some order of it explains
// everything (linearize.h).
//
// The object is one block of eight sectors. A write stores one value in consecutive sectors; values are never used
// twice, but zero is what a trim stores and what a new block holds. An operation without an end may have taken
// effect at any time after its beginning, or never.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/types.h"

namespace corelet {

inline constexpr usize k_history_sectors = 8;
using BlockState = std::array<u64, k_history_sectors>;

struct BlockOperation {
    bool is_read = false;
    usize first_sector = 0;
    usize sectors = k_history_sectors;
    u64 value = 0;      // written; zero: a trim
    BlockState seen{};  // read
    u64 begun = 0;      // place in the order of all beginnings and ends
    u64 ended = 0;      // zero: unknown
    std::string note;   // for a report
};

class BlockHistory {
  public:
    // Returns the operation's handle.
    usize begin_write(usize first_sector, usize sectors, u64 value, u64 at, std::string note = {});
    usize begin_read(u64 at, std::string note = {});
    void end_write(usize operation, u64 at);
    void end_read(usize operation, const BlockState& seen, u64 at);
    [[nodiscard]] usize size() const { return operations_.size(); }
    // Writes without an end.
    [[nodiscard]] usize open_writes() const { return open_writes_; }
    // Nothing, if there is such an order; else the operations around the first end that no order explains.
    [[nodiscard]] std::optional<std::string> judge() const;

  private:
    std::vector<BlockOperation> operations_;
    usize open_writes_ = 0;
};

}  // namespace corelet
