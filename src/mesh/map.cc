#include "mesh/map.h"

#include <algorithm>

#include "base/assert.h"
#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

template <class Items, class Id>
auto* find_sorted(Items& items, Id id) {
    auto const found = std::lower_bound(items.begin(), items.end(), id,
                                        [](const auto& item, Id wanted) { return item.id < wanted; });
    return found != items.end() && found->id == id ? &*found : nullptr;
}

bool valid_name(std::string_view name) {
    if (name.empty() || name.size() > k_name_length_max) return false;
    return name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
           std::string_view::npos;
}

template <class Items>
bool ascending(const Items& items) {
    for (usize i = 1; i < items.size(); ++i) {
        if (!(items[i - 1].id < items[i].id)) return false;
    }
    return true;
}

Result<> check_pool(const Map& map, const Pool& pool) {
    TRY_VOID(check_pool_spec(pool.spec));
    if (pool.id.is_zero() || pool.id >= map.next_pool) return fail(Code::kInvalid, "map: pool id out of range");
    if (pool.tables.empty() || pool.tables.size() > k_tables_max)
        return fail(Code::kInvalid, "map: number of tables");
    for (usize i = 0; i < pool.tables.size(); ++i) {
        const SlotTable& table = *pool.tables[i];
        if (table.width() != pool.spec.redundancy.width()) return fail(Code::kInvalid, "map: width of a table");
        if (table.epoch().is_zero() || table.epoch() > map.epoch)
            return fail(Code::kInvalid, "map: epoch of a table");
        if (i == 0) continue;
        const SlotTable& newer = *pool.tables[i - 1];
        bool const ordered = table.epoch() < newer.epoch() && table.slots() <= newer.slots();
        if (!ordered) return fail(Code::kInvalid, "map: tables out of order");
    }
    if (pool.clean.size() > k_corelets_max) return fail(Code::kInvalid, "map: too many reports");
    for (usize i = 1; i < pool.clean.size(); ++i) {
        if (!(pool.clean[i - 1].corelet < pool.clean[i].corelet))
            return fail(Code::kInvalid, "map: reports out of order");
    }
    return {};
}

}  // namespace

const char* state_name(State state) {
    switch (state) {
        case State::kJoining:
            return "joining";
        case State::kUp:
            return "up";
        case State::kDown:
            return "down";
        case State::kDraining:
            return "draining";
        case State::kFailing:
            return "failing";
        case State::kOut:
            return "out";
    }
    CORELET_UNREACHABLE("state");
}

const char* role_name(Role role) {
    switch (role) {
        case Role::kStorage:
            return "storage";
        case Role::kWitness:
            return "witness";
        case Role::kSpare:
            return "spare";
        case Role::kGateway:
            return "gateway";
    }
    CORELET_UNREACHABLE("role");
}

std::optional<Role> parse_role(std::string_view name) {
    for (Role role : {Role::kStorage, Role::kWitness, Role::kSpare, Role::kGateway}) {
        if (name == role_name(role)) return role;
    }
    return std::nullopt;
}

State Corelet::state() const {
    switch (presence) {
        case Presence::kJoining:
            return State::kJoining;
        case Presence::kDown:
            return State::kDown;
        case Presence::kOut:
            return State::kOut;
        case Presence::kUp:
            break;
    }
    if (duty == Duty::kFailing) return State::kFailing;
    return duty == Duty::kDrain ? State::kDraining : State::kUp;
}

bool Corelet::in_service() const {
    bool const there = presence == Presence::kUp || presence == Presence::kDown;
    return role == Role::kStorage && there && duty == Duty::kServe;
}

bool Corelet::suits(const PoolSpec& spec) const {
    return spec.device_class.empty() || spec.device_class == device_class;
}

unsigned PoolSpec::copies_min() const {
    return min_copies > 0 ? min_copies : std::max(1U, unsigned{redundancy.m});
}

unsigned Pool::put_least() const {
    return least_quorum == 0 ? spec.put_min() : std::min<unsigned>(spec.put_min(), least_quorum);
}

unsigned PoolSpec::put_min() const {
    if (write_quorum > 0) return write_quorum;
    return std::min(redundancy.k + 1U, redundancy.width());
}

TablePtr Pool::table(MapEpoch epoch) const {
    for (const TablePtr& candidate : tables) {
        if (candidate->epoch() == epoch) return candidate;
    }
    return nullptr;
}

MapEpoch Pool::clean_epoch(CoreletId corelet) const {
    auto const found = std::lower_bound(clean.begin(), clean.end(), corelet,
                                        [](const CleanReport& r, CoreletId wanted) { return r.corelet < wanted; });
    return found != clean.end() && found->corelet == corelet ? found->table_epoch : MapEpoch{};
}

std::vector<CoreletId> Pool::holders(ChunkId chunk, unsigned position) const {
    CORELET_ASSERT(position < spec.redundancy.width());
    std::vector<CoreletId> out;
    for (const TablePtr& candidate : tables) {
        CoreletId const holder = candidate->at(slot_of(chunk, spec.locality, candidate->slots()), position);
        if (!holder.is_zero() && std::find(out.begin(), out.end(), holder) == out.end()) out.push_back(holder);
    }
    return out;
}

std::vector<CoreletId> Pool::holders(ChunkId chunk) const {
    std::vector<CoreletId> out;
    for (const TablePtr& candidate : tables)
        for (CoreletId holder : candidate->row(slot_of(chunk, spec.locality, candidate->slots())))
            if (!holder.is_zero()) out.push_back(holder);
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

const Corelet* Map::find(CoreletId id) const {
    return find_sorted(corelets, id);
}
const Pool* Map::find(PoolId id) const {
    return find_sorted(pools, id);
}

const Pool* Map::find_pool(std::string_view name) const {
    for (const Pool& pool : pools) {
        if (pool.spec.name == name) return &pool;
    }
    return nullptr;
}

bool Map::is_up(CoreletId id) const {
    const Corelet* corelet = find(id);
    return corelet != nullptr && corelet->is_up();
}

unsigned Map::members_in_service(const Pool& pool, u32 slot) const {
    unsigned out = 0;
    const SlotTable& table = pool.current();
    for (unsigned position = 0; position < table.width(); ++position) {
        CoreletId const id = table.at(slot, position);
        const Corelet* corelet = id.is_zero() ? nullptr : find(id);
        // A failing device takes no write again; a draining one still does.
        out += corelet != nullptr && corelet->is_up() && corelet->duty != Duty::kFailing;
    }
    return out;
}

bool Map::slot_in_service(const Pool& pool, u32 slot) const {
    return members_in_service(pool, slot) == pool.spec.redundancy.width();
}

bool Map::slot_takes_new(const Pool& pool, u32 slot) const {
    const SlotTable& table = pool.current();
    for (unsigned position = 0; position < table.width(); ++position) {
        const Corelet* corelet = find(table.at(slot, position));
        if (corelet != nullptr && !corelet->takes_new()) return false;
    }
    return true;
}

Result<> check_corelet(const Corelet& corelet) {
    if (corelet.id.is_zero()) return fail(Code::kInvalid, "a corelet needs an id");
    if (!corelet.location.valid()) return fail(Code::kInvalid, "a location is zone/rack/chassis");
    if (corelet.role < Role::kStorage || corelet.role > Role::kGateway) return fail(Code::kInvalid, "unknown role");
    if (corelet.presence < Presence::kJoining || corelet.presence > Presence::kOut) {
        return fail(Code::kInvalid, "unknown presence");
    }
    if (corelet.duty < Duty::kServe || corelet.duty > Duty::kFailing) return fail(Code::kInvalid, "unknown duty");
    if (corelet.weight > k_weight_max) return fail(Code::kInvalid, "a weight is at most 16777216");
    if (corelet.addresses.size() > k_addresses_max) return fail(Code::kInvalid, "too many addresses");
    for (const std::string& address : corelet.addresses) {
        if (address.empty() || address.size() > k_address_length_max)
            return fail(Code::kInvalid, "length of an address");
    }
    if (corelet.former.size() > k_former_max) return fail(Code::kInvalid, "too many former identities");
    if (!corelet.device_class.empty() && !valid_name(corelet.device_class))
        return fail(Code::kInvalid, "a device class is 1 to 64 letters, digits, '.', '_' or '-'");
    return {};
}

Result<> check_pool_spec(const PoolSpec& spec) {
    if (!valid_name(spec.name)) {
        return fail(Code::kInvalid, "a pool's name is 1 to 64 letters, digits, '.', '_' or '-'");
    }
    if (!spec.redundancy.valid()) return fail(Code::kInvalid, "redundancy is rep:1 to rep:9, or ec:2+0 to ec:16+8");
    if (spec.level > Level::kZone) return fail(Code::kInvalid, "unknown failure domain");
    if (find_strategy(spec.strategy) == nullptr) return fail(Code::kInvalid, "no strategy named " + spec.strategy);
    if (spec.min_copies > spec.redundancy.m + 1) {
        return fail(Code::kInvalid, "min_copies is at most the promise + 1");
    }
    unsigned const put_least = std::min(spec.redundancy.k + 1U, spec.redundancy.width());
    if (spec.write_quorum != 0 && (spec.write_quorum < put_least || spec.write_quorum > spec.redundancy.width())) {
        return fail(Code::kInvalid, "write_quorum is from min(k + 1, k + m) to k + m");
    }
    unsigned const width = spec.redundancy.width();
    if (spec.read_quorum != 0 && (spec.read_quorum < spec.redundancy.k || spec.read_quorum > width)) {
        return fail(Code::kInvalid, "read_quorum is from k to k + m: " + std::to_string(spec.redundancy.k) +
                                        " to " + std::to_string(width));
    }
    // With fewer than k nothing is left to repair from, and with all of them nothing is to be repaired.
    if (spec.repair_threshold != 0 &&
        (spec.repair_threshold < spec.redundancy.k || spec.repair_threshold >= width)) {
        return fail(Code::kInvalid, "repair_threshold is from k to k + m - 1: " +
                                        std::to_string(spec.redundancy.k) + " to " + std::to_string(width - 1));
    }
    bool const whole = spec.chunk_bytes % k_block_bytes == 0;
    if (!whole || spec.chunk_bytes < k_chunk_bytes_min || spec.chunk_bytes > k_chunk_bytes_max) {
        return fail(Code::kInvalid, "chunk_bytes is 256 KiB to 64 MiB in whole blocks of 4 KiB");
    }
    if (spec.locality > k_locality_max) return fail(Code::kInvalid, "locality is at most 39");
    if (spec.caps[static_cast<usize>(Level::kCorelet)] != 0)
        return fail(Code::kInvalid,
                    "a corelet keeps one fragment of a chunk; caps are for chassis, racks and zones");
    if (!spec.device_class.empty() && !valid_name(spec.device_class))
        return fail(Code::kInvalid, "a device class is 1 to 64 letters, digits, '.', '_' or '-'");
    return {};
}

Result<> check_map(const Map& map) {
    if (map.corelets.size() > k_corelets_max) return fail(Code::kInvalid, "map: too many corelets");
    if (map.pools.size() > k_pools_max) return fail(Code::kInvalid, "map: too many pools");
    if (!ascending(map.corelets) || !ascending(map.pools)) return fail(Code::kInvalid, "map: out of order");
    for (const Corelet& corelet : map.corelets) TRY_VOID(check_corelet(corelet));
    for (const Pool& pool : map.pools) {
        TRY_VOID(check_pool(map, pool));
        if (map.find_pool(pool.spec.name) != &pool) return fail(Code::kInvalid, "map: two pools of one name");
    }
    return {};
}

}  // namespace corelet::mesh
