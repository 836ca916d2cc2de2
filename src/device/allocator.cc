#include "device/allocator.h"

#include <algorithm>
#include <bit>

namespace corelet {

Allocator::Allocator(u64 units) : units_(units), free_(units), words_(div_ceil(units, 64), 0) {
    CORELET_ASSERT(units < UINT32_MAX);
}

bool Allocator::claim(const UnitExtent& extent) {
    if (extent.units == 0 || extent.end() > units_) return false;
    if (next_used(extent.start, extent.end()) != extent.end()) return false;
    take(extent);
    raise_frontier(extent.end());
    return true;
}

void Allocator::raise_frontier(u64 unit) {
    CORELET_ASSERT(unit <= units_);
    frontier_ = std::max(frontier_, unit);
}

void Allocator::take(const UnitExtent& extent) {
    for (u64 unit = extent.start; unit < extent.end(); ++unit) {
        CORELET_ASSERT(is_free(unit), "allocated twice");
        words_[unit / 64] |= u64{1} << (unit % 64);
    }
    free_ -= extent.units;
}

void Allocator::release(const UnitExtent& extent) {
    CORELET_ASSERT(extent.end() <= units_ && extent.end() <= frontier_);
    for (u64 unit = extent.start; unit < extent.end(); ++unit) {
        CORELET_ASSERT(!is_free(unit), "released twice");
        words_[unit / 64] &= ~(u64{1} << (unit % 64));
    }
    free_ += extent.units;
}

// First unit in [from, limit) whose bit differs from what is skipped; whole words at a time.
u64 Allocator::next_free(u64 from, u64 limit) const {
    while (from < limit) {
        u64 const word = ~words_[from / 64] >> (from % 64);
        if (word != 0) return std::min(limit, from + static_cast<u64>(std::countr_zero(word)));
        from = round_down(from, 64) + 64;
    }
    return limit;
}

u64 Allocator::next_used(u64 from, u64 limit) const {
    while (from < limit) {
        u64 const word = words_[from / 64] >> (from % 64);
        if (word != 0) return std::min(limit, from + static_cast<u64>(std::countr_zero(word)));
        from = round_down(from, 64) + 64;
    }
    return limit;
}

bool Allocator::find_run(u64 from, u64 limit, u64 units, UnitExtent* found) const {
    while (from < limit) {
        u64 const start = next_free(from, limit);
        u64 const end = next_used(start, std::min(limit, start + units));
        if (end - start >= units) {
            *found = {static_cast<u32>(start), static_cast<u32>(units)};
            return true;
        }
        from = end + 1;
    }
    return false;
}

// Several runs, the longest ones first, so that they are few.
std::vector<UnitExtent> Allocator::gather(u64 units, u64 limit) const {
    std::vector<UnitExtent> runs;
    for (u64 at = next_free(0, limit); at < limit;) {
        u64 const end = next_used(at, limit);
        runs.push_back({static_cast<u32>(at), static_cast<u32>(end - at)});
        at = next_free(end, limit);
    }
    std::ranges::stable_sort(runs, [](const UnitExtent& a, const UnitExtent& b) { return a.units > b.units; });
    std::vector<UnitExtent> out;
    for (const UnitExtent& run : runs) {
        u32 const part = static_cast<u32>(std::min<u64>(run.units, units));
        out.push_back({run.start, part});
        units -= part;
        if (units == 0) return out;
    }
    return {};
}

std::vector<UnitExtent> Allocator::allocate_written(u64 units) {
    CORELET_ASSERT(units > 0);
    if (units > free_written_units()) return {};
    UnitExtent run;
    std::vector<UnitExtent> out;
    if (find_run(cursor_, frontier_, units, &run) || find_run(0, frontier_, units, &run))
        out.push_back(run);
    else
        out = gather(units, frontier_);
    for (const UnitExtent& extent : out) take(extent);
    if (!out.empty()) cursor_ = out.back().end() % std::max<u64>(frontier_, 1);
    return out;
}

std::vector<UnitExtent> Allocator::allocate(u64 units) {
    CORELET_ASSERT(units > 0);
    if (units > free_) return {};
    UnitExtent run;
    std::vector<UnitExtent> out;
    bool const below = units <= free_written_units() &&
                       (find_run(cursor_, frontier_, units, &run) || find_run(0, frontier_, units, &run));
    if (below)
        out.push_back(run);
    else if (units <= units_ - frontier_)
        out.push_back({static_cast<u32>(frontier_), static_cast<u32>(units)});
    else
        out = gather(units, units_);
    CORELET_ASSERT(!out.empty(), "as many are free");
    for (const UnitExtent& extent : out) {
        take(extent);
        raise_frontier(extent.end());
    }
    if (below) cursor_ = run.end() % std::max<u64>(frontier_, 1);
    return out;
}

UnitExtent Allocator::take_frontier(u64 units) {
    UnitExtent const extent{static_cast<u32>(frontier_), static_cast<u32>(std::min(units, units_ - frontier_))};
    if (extent.units == 0) return extent;
    take(extent);
    raise_frontier(extent.end());
    return extent;
}

}  // namespace corelet
