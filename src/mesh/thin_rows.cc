#include "mesh/thin_rows.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/retable.h"

namespace corelet::mesh {
namespace {

bool is_down(const Map& map, CoreletId id) {
    const Corelet* const corelet = id.is_zero() ? nullptr : map.find(id);
    return corelet != nullptr && corelet->presence == Presence::kDown;
}

bool somebody_could_enter(const Map& map, const Pool& pool, u32 slot) {
    for (const Corelet& corelet : map.corelets) {
        bool const open =
            corelet.in_service() && corelet.is_up() && corelet.weight != 0 && corelet.suits(pool.spec);
        if (open && !pool.current().position_of(slot, corelet.id)) return true;
    }
    return false;
}

// The current cells; those of down members of thin rows empty.
std::vector<CoreletId> without_the_down(const Map& map, const Pool& pool) {
    std::vector<CoreletId> cells;
    for (u32 slot = 0; slot < pool.current().slots(); ++slot) {
        bool const thin = is_thin(map, pool, slot);
        for (CoreletId id : pool.current().row(slot)) cells.push_back(thin && is_down(map, id) ? CoreletId{} : id);
    }
    return cells;
}

}  // namespace

bool is_thin(const Map& map, const Pool& pool, u32 slot) {
    unsigned up = 0;
    bool any_down = false;
    for (CoreletId id : pool.current().row(slot)) {
        up += !id.is_zero() && map.is_up(id);
        any_down = any_down || is_down(map, id);
    }
    return any_down && up <= pool.spec.repair_threshold;
}

bool has_thin_rows(const Map& map, const Pool& pool) {
    if (pool.spec.repair_threshold == 0) return false;
    bool const any_down = std::any_of(map.corelets.begin(), map.corelets.end(),
                                      [](const Corelet& c) { return c.presence == Presence::kDown; });
    if (!any_down) return false;
    for (u32 slot = 0; slot < pool.current().slots(); ++slot)
        if (is_thin(map, pool, slot) && somebody_could_enter(map, pool, slot)) return true;
    return false;
}

bool fill_thin_rows(Map& map, Pool& pool) {
    if (!has_thin_rows(map, pool)) return false;
    const SlotTable& current = pool.current();
    auto const holed = SlotTable::make(map.epoch, current.slots(), current.width(), without_the_down(map, pool));
    CORELET_ASSERT(holed.has_value(), "a table with fewer members is one");
    TablePtr const filled = filled_table(map, pool, **holed);
    // Where nobody could take it, a place stays with who is down: it may come back with what it holds.
    std::vector<CoreletId> cells;
    for (u32 slot = 0; slot < current.slots(); ++slot) {
        for (unsigned position = 0; position < current.width(); ++position) {
            CoreletId const taker = filled->at(slot, position);
            cells.push_back(taker.is_zero() ? current.at(slot, position) : taker);
        }
    }
    auto table = SlotTable::make(map.epoch, current.slots(), current.width(), cells);
    CORELET_ASSERT(table.has_value(), "places are given to who had none in the row");
    if ((*table)->hash() == current.hash()) return false;
    pool.tables.insert(pool.tables.begin(), *table);
    return true;
}

}  // namespace corelet::mesh
