#include "mesh/transition.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/fits.h"
#include "mesh/retable.h"
#include "mesh/spares.h"
#include "mesh/strategy.h"
#include "mesh/thin_rows.h"
#include "mesh/weight.h"

namespace corelet::mesh {
namespace {

Corelet* find_mutable(Map& map, CoreletId id) {
    return const_cast<Corelet*>(map.find(id));
}
Pool* find_mutable(Map& map, PoolId id) {
    return const_cast<Pool*>(map.find(id));
}

Result<Corelet*> known(Map& map, CoreletId id) {
    Corelet* corelet = find_mutable(map, id);
    if (corelet == nullptr) return fail(Code::kNotFound, "no corelet " + to_string(id) + " in this mesh");
    return corelet;
}

void insert(Map& map, Corelet corelet) {
    auto const at = std::lower_bound(map.corelets.begin(), map.corelets.end(), corelet.id,
                                     [](const Corelet& c, CoreletId id) { return c.id < id; });
    CORELET_ASSERT(at == map.corelets.end() || at->id != corelet.id);
    map.corelets.insert(at, std::move(corelet));
}

void erase(Map& map, CoreletId id) {
    std::erase_if(map.corelets, [&](const Corelet& c) { return c.id == id; });
    for (Pool& pool : map.pools) std::erase_if(pool.clean, [&](const CleanReport& r) { return r.corelet == id; });
}

Result<> check_newcomer(const Map& map, Corelet& corelet) {
    if (corelet.weight == 0 && may_store(corelet.role)) corelet.weight = default_weight(corelet.capacity_bytes);
    corelet.former.clear();
    TRY_VOID(check_corelet(corelet));
    if (map.corelets.size() >= k_corelets_max) return fail(Code::kOverloaded, "a mesh has at most 16384 corelets");
    for (const Corelet& other : map.corelets) {
        for (const FormerIdentity& former : other.former) {
            if (former.id == corelet.id && corelet.incarnation <= former.incarnation) {
                return fail(Code::kFenced, "this identity was replaced by " + to_string(other.id) +
                                               "; it may come back only under a new incarnation");
            }
        }
    }
    return {};
}

// Each change_* makes the next map out of a copy whose epoch is already the next; false: nothing to change.
Result<bool> change(Map& map, const CoreletJoined& event) {
    Corelet corelet = event.corelet;
    if (const Corelet* present = map.find(corelet.id)) {
        if (present->presence != Presence::kOut) return fail(Code::kExists, "this corelet is in the mesh already");
        if (corelet.incarnation <= present->incarnation) {
            return fail(Code::kFenced, "it was put out under this incarnation; record a new one first");
        }
        auto former = present->former;
        erase(map, corelet.id);
        TRY_VOID(check_newcomer(map, corelet));
        corelet.former = std::move(former);
    } else {
        TRY_VOID(check_newcomer(map, corelet));
    }
    corelet.presence = Presence::kJoining;
    corelet.duty = Duty::kServe;
    corelet.cordoned = false;
    insert(map, std::move(corelet));
    return true;
}

Result<bool> change(Map& map, const CoreletUp& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    if (event.incarnation < corelet->incarnation)
        return fail(Code::kFenced, "an older incarnation than the mesh knows");
    bool const was_out = corelet->presence == Presence::kOut;
    if (was_out && event.incarnation == corelet->incarnation) {
        return fail(Code::kFenced, "it was put out under this incarnation; record a new one first");
    }
    bool const same_addresses = event.addresses.empty() || event.addresses == corelet->addresses;
    if (corelet->is_up() && event.incarnation == corelet->incarnation && same_addresses) return false;
    bool const was_up = corelet->is_up();
    corelet->presence = Presence::kUp;
    corelet->incarnation = event.incarnation;
    if (!same_addresses) corelet->addresses = event.addresses;
    TRY_VOID(check_corelet(*corelet));
    if (!was_up) retable(map);
    return true;
}

Result<bool> change(Map& map, const CoreletDown& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    if (event.incarnation < corelet->incarnation) return fail(Code::kFenced, "it has restarted since");
    if (corelet->presence == Presence::kDown || corelet->presence == Presence::kOut) return false;
    // One that never came up holds nothing and has no places to keep.
    if (corelet->presence == Presence::kJoining) return false;
    corelet->presence = Presence::kDown;
    return true;
}

// Somebody else is up at one of its addresses, so it is not cut off: its device was replaced.
bool is_superseded(const Map& map, const Corelet& corelet) {
    return std::ranges::any_of(map.corelets, [&](const Corelet& other) {
        return other.id != corelet.id && other.is_up() &&
               std::ranges::find_first_of(other.addresses, corelet.addresses) != other.addresses.end();
    });
}

// More than a third of the storage corelets that are not out is down: that is more likely the network than a loss.
bool looks_like_the_network(const Map& map) {
    usize down = 0, all = 0;
    for (const Corelet& other : map.corelets) {
        if (other.role != Role::kStorage || other.presence == Presence::kOut) continue;
        bool const is_down = other.presence == Presence::kDown;
        if (is_down && is_superseded(map, other)) continue;
        ++all;
        down += is_down;
    }
    return down * 3 > all;
}

Result<bool> change(Map& map, const CoreletOut& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    if (corelet->presence == Presence::kOut) return false;
    if (event.automatic) {
        if (corelet->presence != Presence::kDown) return fail(Code::kUnavailable, "it is not down");
        if (looks_like_the_network(map)) {
            return fail(Code::kUnavailable,
                        "more than a third of the mesh is down: that looks like the network; put it out by "
                        "hand if it is really lost");
        }
    }
    corelet->presence = Presence::kOut;
    if (corelet->role != Role::kStorage || !call_spare(map, *corelet)) retable(map);
    return true;
}

Result<bool> change(Map& map, const DutyChanged& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    if (event.duty < Duty::kServe || event.duty > Duty::kFailing) return fail(Code::kInvalid, "unknown duty");
    if (corelet->duty == event.duty) return false;
    corelet->duty = event.duty;
    retable(map);
    return true;
}

Result<bool> change(Map& map, const CordonChanged& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    return std::exchange(corelet->cordoned, event.cordoned) != event.cordoned;
}

Result<bool> change(Map& map, const CoreletRemoved& event) {
    TRY(const Corelet* const corelet, known(map, event.id));
    bool const may_go = corelet->presence == Presence::kOut || is_drained(map, event.id) || event.force;
    if (!may_go) {
        return fail(Code::kUnavailable,
                    "it still holds data: drain it first and wait until it is empty, or put it out");
    }
    erase(map, event.id);
    retable(map);
    return true;
}

Result<bool> change(Map& map, const CoreletReplaced& event) {
    TRY(const Corelet* const old, known(map, event.old));
    if (old->presence != Presence::kDown && old->presence != Presence::kOut) {
        return fail(Code::kUnavailable, "the corelet to be replaced is still there: drain it, or stop it first");
    }
    if (map.find(event.fresh.id) != nullptr) return fail(Code::kExists, "the new corelet is in the mesh already");
    Corelet const retired = *old;
    Corelet fresh = event.fresh;
    fresh.location = retired.location;
    fresh.role = retired.role;
    fresh.presence = Presence::kUp;
    fresh.duty = Duty::kServe;
    fresh.cordoned = false;
    erase(map, retired.id);
    TRY_VOID(check_newcomer(map, fresh));
    fresh.former = retired.former;
    fresh.former.push_back({retired.id, retired.incarnation});
    if (fresh.former.size() > k_former_max) fresh.former.erase(fresh.former.begin());
    CoreletId const heir = fresh.id;
    insert(map, std::move(fresh));
    for (Pool& pool : map.pools) inherit_places(map, pool, retired.id, heir);
    return true;
}

Result<bool> change(Map& map, const WeightChanged& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    u32 const weight =
        event.weight == 0 && event.capacity_bytes > 0 ? default_weight(event.capacity_bytes) : event.weight;
    if (corelet->weight == weight && corelet->capacity_bytes == event.capacity_bytes) return false;
    corelet->weight = weight;
    corelet->capacity_bytes = event.capacity_bytes;
    TRY_VOID(check_corelet(*corelet));
    retable(map);
    return true;
}

Result<bool> change(Map& map, const LocationChanged& event) {
    TRY(Corelet* const corelet, known(map, event.id));
    if (corelet->location == event.location) return false;
    corelet->location = event.location;
    TRY_VOID(check_corelet(*corelet));
    retable(map);
    return true;
}

Result<bool> change(Map& map, const PoolCreated& event) {
    TRY_VOID(check_pool_spec(event.spec));
    if (map.find_pool(event.spec.name) != nullptr)
        return fail(Code::kExists, "there is a pool '" + event.spec.name + "' already");
    if (map.pools.size() >= k_pools_max) return fail(Code::kOverloaded, "a mesh has at most 256 pools");
    TRY_VOID(check_fits(map, event.spec, event.survive));
    Pool pool;
    pool.id = map.next_pool;
    pool.spec = event.spec;
    map.next_pool = map.next_pool.next();
    retable_pool(map, map.pools.emplace_back(std::move(pool)), nullptr);
    return true;
}

Result<> check_what_stays(const PoolSpec& is, const PoolSpec& wanted) {
    std::string what;
    if (wanted.name != is.name) what = "name";
    if (wanted.redundancy != is.redundancy) what = "redundancy";
    if (wanted.chunk_bytes != is.chunk_bytes) what = "chunk size";
    if (!what.empty())
        return fail(Code::kInvalid,
                    "the " + what +
                        " of a pool is fixed: its chunks would have to be written anew. Make another "
                        "pool and copy the volumes there");
    if (wanted.locality != is.locality)
        return fail(Code::kInvalid,
                    "which chunks lie together is fixed when a pool is made, so it cannot become one of strategy "
                    "locality. Make another pool and copy the volumes there");
    return {};
}

bool same_places(const PoolSpec& a, const PoolSpec& b) {
    return a.strategy == b.strategy && a.level == b.level && a.caps == b.caps && a.device_class == b.device_class;
}

Result<bool> change(Map& map, const PoolChanged& event) {
    Pool* const pool = find_mutable(map, event.id);
    if (pool == nullptr) return fail(Code::kNotFound, "no such pool");
    TRY_VOID(check_pool_spec(event.spec));
    TRY_VOID(check_what_stays(pool->spec, event.spec));
    bool const moves = !same_places(pool->spec, event.spec);
    if (moves || event.survive) TRY_VOID(check_fits(map, event.spec, event.survive));
    if (event.spec == pool->spec) return false;
    if (event.former && *event.former != pool->spec)
        return fail(Code::kConflict, "somebody else has changed the pool meanwhile; look at it and try again");
    // Chunks that were put by a smaller write quorum may still be behind: who takes their volume over has to ask.
    if (pool->spec.puts_behind()) {
        unsigned const least =
            std::min<unsigned>(pool->least_quorum == 0 ? k_width_max : pool->least_quorum, pool->spec.write_quorum);
        pool->least_quorum = static_cast<u8>(least);
    }
    pool->spec = event.spec;
    if (!moves) return true;
    (void)retire_tables(map, *pool);
    // At the bound only places of the lost may be filled: data would be where no table that is kept leads to.
    if (pool->tables.size() >= k_tables_max)
        return fail(Code::kUnavailable,
                    "the pool moves already, by as many tables as it may keep; try again when it "
                    "has settled");
    retable_pool(map, *pool, nullptr);
    return true;
}

Result<bool> change(Map& map, const PoolRemoved& event) {
    if (std::erase_if(map.pools, [&](const Pool& pool) { return pool.id == event.id; }) == 0) {
        return fail(Code::kNotFound, "no such pool");
    }
    return true;
}

Result<bool> change(Map& map, const SlotsClean& event) {
    TRY(const Corelet* const corelet, known(map, event.corelet));
    if (corelet->presence == Presence::kOut) return fail(Code::kFenced, "it is out; nobody waits for it");
    Pool* pool = find_mutable(map, event.pool);
    if (pool == nullptr) return fail(Code::kNotFound, "no such pool");
    TablePtr const table = pool->table(event.table_epoch);
    if (table == nullptr || table->hash() != event.table_hash) {
        return fail(Code::kStaleMap, "that table is not in the map", map.epoch.v);
    }
    if (pool->tables.size() == 1 || pool->clean_epoch(event.corelet) >= event.table_epoch) return false;
    auto const at = std::lower_bound(pool->clean.begin(), pool->clean.end(), event.corelet,
                                     [](const CleanReport& r, CoreletId id) { return r.corelet < id; });
    if (at != pool->clean.end() && at->corelet == event.corelet) {
        at->table_epoch = event.table_epoch;
    } else {
        pool->clean.insert(at, {event.corelet, event.table_epoch});
    }
    if (retire_tables(map, *pool) && pool->move_wanted) retable_pool(map, *pool, nullptr);
    return true;
}

Result<bool> change(Map& map, const ThinRowsFilled& event) {
    Pool* pool = find_mutable(map, event.pool);
    if (pool == nullptr) return fail(Code::kNotFound, "no such pool");
    if (looks_like_the_network(map))
        return fail(Code::kUnavailable, "more than a third of the mesh is down: that looks like the network");
    (void)retire_tables(map, *pool);
    if (pool->tables.size() >= k_tables_max)
        return fail(Code::kUnavailable, "the pool keeps as many tables as it may; it waits until one is gone");
    return fill_thin_rows(map, *pool);
}

}  // namespace

Result<Map> apply_event(const Map& map, const MapEvent& event) {
    Map next = map;
    next.epoch = map.epoch.next();
    TRY(bool const changed, std::visit([&](const auto& e) { return change(next, e); }, event));
    if (!changed) return map;
    return next;
}

Map first_map(MeshId mesh) {
    Map map;
    map.mesh = mesh;
    map.epoch = MapEpoch(1);
    return map;
}

bool is_drained(const Map& map, CoreletId id) {
    for (const Pool& pool : map.pools) {
        for (const TablePtr& table : pool.tables) {
            if (table->has(id)) return false;
        }
    }
    return true;
}

}  // namespace corelet::mesh
