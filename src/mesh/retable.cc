#include "mesh/retable.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hash.h"
#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

std::vector<Candidate> candidates_of(const Map& map, const PoolSpec& spec) {
    std::vector<Candidate> out;
    for (const Corelet& corelet : map.corelets) {
        bool const there = corelet.presence == Presence::kUp || corelet.presence == Presence::kDown;
        if (corelet.role != Role::kStorage || !there || !corelet.suits(spec)) continue;
        Standing standing = corelet.is_up() ? Standing::kOpen : Standing::kHold;
        if (corelet.duty != Duty::kServe) standing = Standing::kLeave;
        out.push_back({corelet.id, corelet.weight, standing, corelet.location});
    }
    return out;
}

PlacementRequest make_request(const Map& map, const Pool& pool, const SlotTable* previous, bool fill_only) {
    PlacementRequest request;
    request.candidates = candidates_of(map, pool.spec);
    usize const staying =
        static_cast<usize>(std::count_if(request.candidates.begin(), request.candidates.end(),
                                         [](const Candidate& c) { return c.standing != Standing::kLeave; }));
    u32 const slots_before = previous == nullptr ? k_slots_min : previous->slots();
    request.slots = fill_only ? slots_before : std::max(slots_before, slots_for(staying));
    request.width = pool.spec.redundancy.width();
    request.promise = pool.spec.redundancy.m;
    request.level = pool.spec.level;
    request.caps = pool.spec.caps;
    request.previous = previous;
    request.fill_only = fill_only;
    request.seed = hash64(map.mesh.v, pool.id.v);
    return request;
}

TablePtr compute(const Map& map, const Pool& pool, const SlotTable* previous, bool fill_only) {
    const Strategy* strategy = find_strategy(pool.spec.strategy);
    CORELET_ASSERT(strategy != nullptr, "a pool's strategy is checked when it enters the map");
    PlacementRequest const request = make_request(map, pool, previous, fill_only);
    Placement const placement = strategy->place(request);
    auto table = SlotTable::make(map.epoch, request.slots, request.width, placement.cells);
    CORELET_ASSERT(table.has_value(), "a strategy makes valid tables");
    return *table;
}

bool same_contents(const SlotTable& a, const SlotTable& b) {
    return a.hash() == b.hash() && a.slots() == b.slots();
}

}  // namespace

void retable_pool(Map& map, Pool& pool, const TablePtr& substitute) {
    if (pool.tables.empty()) {
        pool.tables.push_back(compute(map, pool, nullptr, false));
        return;
    }
    const SlotTable* kept = substitute ? substitute.get() : &pool.current();
    TablePtr wanted = compute(map, pool, kept, false);
    if (same_contents(*wanted, pool.current())) {
        pool.move_wanted = false;
        return;
    }
    if (pool.tables.size() < k_tables_max) {
        pool.tables.insert(pool.tables.begin(), std::move(wanted));
        pool.move_wanted = false;
        return;
    }
    TablePtr filled = compute(map, pool, kept, true);
    pool.move_wanted = !same_contents(*wanted, *filled);
    if (!same_contents(*filled, pool.current())) pool.tables.front() = std::move(filled);
}

TablePtr filled_table(const Map& map, const Pool& pool, const SlotTable& previous) {
    return compute(map, pool, &previous, true);
}

void inherit_places(Map& map, Pool& pool, CoreletId lost, CoreletId heir) {
    TablePtr substitute;
    if (pool.current().has(lost) && !pool.current().has(heir))
        substitute = pool.current().with_replaced(map.epoch, lost, heir);
    (void)retire_tables(map, pool);
    retable_pool(map, pool, substitute);
}

void retable(Map& map) {
    for (Pool& pool : map.pools) {
        (void)retire_tables(map, pool);  // first: whoever is not waited for any more makes room
        retable_pool(map, pool, nullptr);
    }
}

// Tables older than tables[keep] go if all whom tables[keep] and older ones name, and who are not out, have
// reported clean under tables[keep] or a newer one: its members then have what they should, and nobody puts by an
// older one any more.
bool retire_tables(const Map& map, Pool& pool) {
    auto const waited_for = [&](CoreletId id) {
        const Corelet* corelet = map.find(id);
        return corelet != nullptr && corelet->presence != Presence::kOut;
    };
    for (usize keep = 0; keep + 1 < pool.tables.size(); ++keep) {
        MapEpoch const epoch = pool.tables[keep]->epoch();
        bool clean = true;
        for (usize i = keep; i < pool.tables.size() && clean; ++i) {
            for (CoreletId id : pool.tables[i]->members())
                clean = clean && (!waited_for(id) || pool.clean_epoch(id) >= epoch);
        }
        if (!clean) continue;
        pool.tables.resize(keep + 1);
        if (keep == 0) pool.clean.clear();
        return true;
    }
    return false;
}

}  // namespace corelet::mesh
