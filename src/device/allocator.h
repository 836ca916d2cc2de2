// Free space of the data area: one bit a unit, so that its memory is bounded however fragmented the area is.
//
// The frontier divides what was ever written (below) from what never was. Space is taken below it first, next-fit,
// and at it only when nothing below fits; log segments take none above it before it has been written once.
#pragma once

#include <vector>

#include "base/assert.h"
#include "device/types.h"

namespace corelet {

class Allocator {
  public:
    explicit Allocator(u64 units);

    // At mount: takes what is known to be in use. False if any of it is taken already or beyond the end.
    [[nodiscard]] bool claim(const UnitExtent& extent);
    // At mount: nothing at or above `unit` was ever written. Never lowers it.
    void raise_frontier(u64 unit);

    // `units` as one extent if there is such a run, else as several. Empty if there are not as many free units.
    [[nodiscard]] std::vector<UnitExtent> allocate(u64 units);
    // Only below the frontier.
    [[nodiscard]] std::vector<UnitExtent> allocate_written(u64 units);
    // Takes up to `units` at the frontier and moves it; empty (0 units) at the end of the area. Written by the
    // caller, then given back with release() to be allocated as written space.
    [[nodiscard]] UnitExtent take_frontier(u64 units);
    void release(const UnitExtent& extent);
    void release(const std::vector<UnitExtent>& extents) {
        for (const UnitExtent& extent : extents) release(extent);
    }

    [[nodiscard]] u64 units() const { return units_; }
    [[nodiscard]] u64 free_units() const { return free_; }
    [[nodiscard]] u64 free_written_units() const { return free_ - (units_ - frontier_); }
    [[nodiscard]] u64 frontier() const { return frontier_; }
    [[nodiscard]] bool is_free(u64 unit) const { return (words_[unit / 64] >> (unit % 64) & 1) == 0; }

  private:
    [[nodiscard]] u64 next_free(u64 from, u64 limit) const;
    [[nodiscard]] u64 next_used(u64 from, u64 limit) const;
    // The first run of at least `units` in [from, limit).
    [[nodiscard]] bool find_run(u64 from, u64 limit, u64 units, UnitExtent* found) const;
    [[nodiscard]] std::vector<UnitExtent> gather(u64 units, u64 limit) const;
    void take(const UnitExtent& extent);

    u64 units_;
    u64 free_;
    u64 frontier_ = 0;
    u64 cursor_ = 0;  // where the last allocation below the frontier ended
    std::vector<u64> words_;
};

}  // namespace corelet
