#include "mesh/move_plan.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/retable.h"

namespace corelet::mesh {
namespace {

// As if each of those who are waited for had just said so.
void report_everybody_clean(const Map& map, Pool& pool) {
    pool.clean.clear();
    for (const Corelet& corelet : map.corelets)
        if (corelet.presence != Presence::kOut) pool.clean.push_back({corelet.id, pool.current().epoch()});
}

bool hands_on(const Map& map, CoreletId id) {
    return !id.is_zero() && map.is_up(id);
}

class Comparison {
  public:
    Comparison(const Map& after, MovePlan& plan) : after_(after), plan_(plan) {}

    void add(PoolId pool, CoreletId from, CoreletId to, const Load& load) {
        if (from == to || load.fragments == 0) return;
        if (to.is_zero()) {
            plan_.homeless += load;
            return;
        }
        CoreletId const source = hands_on(after_, from) ? from : CoreletId{};
        plan_.flows[{source, to}] += load;
        plan_.in[to] += load;
        if (!from.is_zero()) plan_.out[from] += load;
        plan_.by_pool[pool] += load;
        plan_.moved += load;
        if (source.is_zero()) plan_.rebuilt += load;
    }

  private:
    const Map& after_;
    MovePlan& plan_;
};

// What a later call for room or time counts is what moves between two who are there.
u64 bytes_handed_on(const MovePlan& plan, CoreletId id) {
    u64 bytes = 0;
    for (auto const& [ends, load] : plan.flows)
        if (ends.first == id) bytes += load.bytes;
    return bytes;
}

}  // namespace

Load& Load::operator+=(const Load& other) {
    fragments += other.fragments;
    bytes += other.bytes;
    room += other.room;
    return *this;
}

Result<Map> apply_events(const Map& map, std::span<const MapEvent> events) {
    Map next = map;
    for (const MapEvent& event : events) {
        TRY(next, apply_event(next, event));
    }
    return next;
}

Map settled(Map map) {
    for (Pool& pool : map.pools) {
        // A table that waited makes another move, which waits for nothing.
        for (usize moves = 0; moves <= k_tables_max; ++moves) {
            report_everybody_clean(map, pool);
            (void)retire_tables(map, pool);
            if (!pool.move_wanted) break;
            map.epoch = map.epoch.next();
            retable_pool(map, pool, nullptr);
        }
        pool.clean.clear();
    }
    return map;
}

u32 slots_to_count(const Map& before, const Map& after, PoolId id) {
    u32 slots = 0;
    for (const Map* const map : {&before, &after})
        if (const Pool* const pool = map->find(id)) slots = std::max(slots, pool->current().slots());
    return slots;
}

MovePlan plan_moves(const Map& before, const Map& after, const std::map<PoolId, SlotLoads>& loads) {
    MovePlan plan;
    Comparison comparison(after, plan);
    for (auto const& [id, by_slot] : loads) {
        const Pool* const was = before.find(id);
        const Pool* const is = after.find(id);
        if (!was || !is || was->current().width() != is->current().width()) continue;
        const SlotTable &old_table = was->current(), &new_table = is->current();
        CORELET_ASSERT(by_slot.size() % old_table.slots() == 0 && by_slot.size() % new_table.slots() == 0,
                       "loads are counted by the finer of the two tables");
        for (u32 slot = 0; slot < by_slot.size(); ++slot)
            for (unsigned p = 0; p < new_table.width(); ++p)
                comparison.add(id, old_table.at(slot % old_table.slots(), p),
                               new_table.at(slot % new_table.slots(), p), by_slot[slot]);
    }
    return plan;
}

Duration time_for(const MovePlan& plan, const std::function<u64(CoreletId)>& pace) {
    Duration longest{};
    auto const consider = [&](CoreletId id, u64 bytes) {
        u64 const rate = std::max<u64>(pace(id), 1);
        longest = std::max(longest, Duration{static_cast<i64>(u128{bytes} * 1'000'000'000 / rate)});
    };
    for (auto const& [id, load] : plan.in) consider(id, load.bytes);
    for (auto const& [id, load] : plan.out) consider(id, bytes_handed_on(plan, id));
    return longest;
}

}  // namespace corelet::mesh
