#include "mesh/map_delta.h"

#include <algorithm>

#include "base/hash.h"
#include "mesh/envelope.h"
#include "mesh/map_message.h"
#include "mesh/table_delta.h"

namespace corelet::mesh {
namespace {

constexpr EnvelopeKind k_delta_kind{0x444D4C43, 1, "map delta"};  // "CLMD"

CoreletId key_of(const Corelet& corelet) {
    return corelet.id;
}
CoreletId key_of(const CleanReport& report) {
    return report.corelet;
}
PoolId key_of(const Pool& pool) {
    return pool.id;
}

template <class Item>
const Item* find_in(const std::vector<Item>& items, decltype(key_of(std::declval<Item>())) key) {
    auto const at = std::lower_bound(items.begin(), items.end(), key,
                                     [](const Item& item, auto wanted) { return key_of(item) < wanted; });
    return at != items.end() && key_of(*at) == key ? &*at : nullptr;
}

// Both by key. Calls changed(item, former or null) and gone(key).
template <class Item, class Changed, class Gone>
void compare(const std::vector<Item>& from, const std::vector<Item>& to, Changed changed, Gone gone) {
    for (const Item& item : to) changed(item, find_in(from, key_of(item)));
    for (const Item& item : from) {
        if (find_in(to, key_of(item)) == nullptr) gone(key_of(item));
    }
}

// `from` without what is gone or changed, and with what is changed; all ascending.
template <class Item, class Keys>
Result<std::vector<Item>> merged(const std::vector<Item>& from, std::vector<Item> changed, const Keys& gone) {
    auto const strictly = [](const auto& a, const auto& b) { return a >= b; };
    bool const in_order = std::ranges::adjacent_find(gone, strictly) == gone.end() &&
                          std::ranges::adjacent_find(
                              changed, strictly, [](const Item& item) { return key_of(item); }) == changed.end();
    if (!in_order) return fail(Code::kInvalid, "map delta: out of order");
    std::vector<Item> kept;
    for (const Item& item : from) {
        bool const goes = std::binary_search(gone.begin(), gone.end(), key_of(item).v);
        if (!goes && find_in(changed, key_of(item)) == nullptr) kept.push_back(item);
    }
    std::vector<Item> out;
    std::merge(std::make_move_iterator(kept.begin()), std::make_move_iterator(kept.end()),
               std::make_move_iterator(changed.begin()), std::make_move_iterator(changed.end()),
               std::back_inserter(out), [](const Item& a, const Item& b) { return key_of(a) < key_of(b); });
    return out;
}

TablePtr find_table(const std::vector<TablePtr>& tables, MapEpoch epoch, u64 hash) {
    for (const TablePtr& table : tables) {
        if (table->epoch() == epoch && table->hash() == hash) return table;
    }
    return nullptr;
}

bool same_tables(const Pool& a, const Pool& b) {
    return std::ranges::equal(a.tables, b.tables, [](const TablePtr& x, const TablePtr& y) {
        return x == y || (x->epoch() == y->epoch() && x->hash() == y->hash());
    });
}

bool same(const Pool& a, const Pool& b) {
    return a.spec == b.spec && a.clean == b.clean && a.move_wanted == b.move_wanted && a.unknown == b.unknown &&
           same_tables(a, b);
}

// The one that leaves least to be told: the next older one, or the former map's current one.
const SlotTable* best_base(const SlotTable& table, const SlotTable* older, const SlotTable* former) {
    if (older == nullptr || former == nullptr) return older != nullptr ? older : former;
    auto const by_older = cells_changed(*older, table);
    auto const by_former = cells_changed(*former, table);
    if (!by_older || !by_former) return by_older ? older : former;
    return *by_older <= *by_former ? older : former;
}

void tell_tables(const Pool* from, const Pool& to, pb::PoolDelta& out) {
    const SlotTable* older = nullptr;
    for (usize i = to.tables.size(); i-- > 0;) {
        const SlotTable& table = *to.tables[i];
        bool const known = from != nullptr && find_table(from->tables, table.epoch(), table.hash()) != nullptr;
        const SlotTable* const former = from != nullptr ? &from->current() : nullptr;
        if (!known) *out.add_tables() = make_table_delta(best_base(table, older, former), table);
        older = &table;
    }
}

void tell(const CleanReport& report, pb::PoolDelta& out) {
    auto* const told = out.add_clean();
    told->set_corelet(report.corelet.v);
    told->set_table_epoch(report.table_epoch.v);
}

// All anew where that is no longer.
void tell_reports(const std::vector<CleanReport>& from, const std::vector<CleanReport>& to, pb::PoolDelta& out) {
    compare(
        from, to,
        [&](const CleanReport& report, const CleanReport* former) {
            if (former == nullptr || *former != report) tell(report, out);
        },
        [&](CoreletId gone) { out.add_clean_gone(gone.v); });
    if (from.empty() || static_cast<usize>(out.clean_size() + out.clean_gone_size()) < to.size()) return;
    out.clear_clean();
    out.clear_clean_gone();
    out.set_clean_anew(true);
    for (const CleanReport& report : to) tell(report, out);
}

void tell_pool(const Pool* from, const Pool& to, pb::PoolDelta& out) {
    encode(to, false, *out.mutable_pool());
    out.mutable_pool()->clear_clean();
    tell_tables(from, to, out);
    tell_reports(from != nullptr ? from->clean : std::vector<CleanReport>{}, to.clean, out);
}

// What an application may still build; see k_map_delta_cells_max.
struct Room {
    usize cells = k_map_delta_cells_max;
};

// Tables that the former map does not have, added to those it has.
Result<std::vector<TablePtr>> tables_of(const Pool* from, const pb::PoolDelta& delta, Room& room) {
    std::vector<TablePtr> out;
    if (from != nullptr) out = from->tables;
    if (delta.tables_size() > static_cast<int>(k_tables_max))
        return fail(Code::kInvalid, "map delta: too many tables");
    for (const pb::TableDelta& table : delta.tables()) {
        u64 const cells = u64{table.slots()} * table.width();
        if (cells > room.cells) return fail(Code::kInvalid, "map delta: tables too large");
        room.cells -= cells;
        TablePtr base;
        if (table.base_epoch() != 0) {
            base = find_table(out, MapEpoch(table.base_epoch()), table.base_hash());
            if (base == nullptr) return fail(Code::kInvalid, "map delta: it changes a table that is not there");
        }
        TRY(TablePtr built, apply_table_delta(base.get(), table));
        out.push_back(std::move(built));
    }
    return out;
}

Result<Pool> apply_pool(const Pool* from, pb::PoolDelta& delta, Room& room) {
    TRY(std::vector<TablePtr> const tables, tables_of(from, delta, room));
    auto const find = [&](MapEpoch epoch, u64 hash) { return find_table(tables, epoch, hash); };
    TRY(Pool to, decode(*delta.mutable_pool(), find));
    std::vector<CleanReport> kept, told;
    if (from != nullptr && !delta.clean_anew()) kept = from->clean;
    for (const pb::CleanReport& report : delta.clean())
        told.push_back({CoreletId(report.corelet()), MapEpoch(report.table_epoch())});
    TRY(to.clean, merged(kept, std::move(told), delta.clean_gone()));
    return to;
}

Result<std::vector<Corelet>> apply_corelets(const Map& map, pb::MapDelta& delta) {
    std::vector<Corelet> changed;
    for (pb::Corelet& corelet : *delta.mutable_corelets()) {
        TRY(Corelet decoded, decode(corelet));
        changed.push_back(std::move(decoded));
    }
    return merged(map.corelets, std::move(changed), delta.corelets_gone());
}

Result<std::vector<Pool>> apply_pools(const Map& map, pb::MapDelta& delta) {
    Room room;
    std::vector<Pool> changed;
    for (pb::PoolDelta& pool : *delta.mutable_pools()) {
        TRY(Pool decoded, apply_pool(map.find(PoolId(pool.pool().id())), pool, room));
        changed.push_back(std::move(decoded));
    }
    return merged(map.pools, std::move(changed), delta.pools_gone());
}

Result<pb::MapDelta> parse(Bytes bytes) {
    if (bytes.size() > k_map_delta_bytes_max) return fail(Code::kInvalid, "map delta: too long");
    TRY(pb::MapDelta delta, unseal_message<pb::MapDelta>(k_delta_kind, bytes));
    if (delta.to_epoch() <= delta.from_epoch()) return fail(Code::kInvalid, "map delta: it leads back");
    return delta;
}

}  // namespace

u64 map_hash(const Map& map) {
    if (map.epoch.is_zero()) return 0;
    auto const outline = encode_outline(map);
    return hash64(as_text(Bytes(outline).subspan(k_envelope_bytes)));
}

std::vector<u8> make_delta(const Map& from, const Map& to) {
    CORELET_ASSERT(from.epoch < to.epoch, "a delta leads to a later map");
    CORELET_ASSERT(from.epoch.is_zero() || from.mesh == to.mesh);
    pb::MapDelta out;
    out.set_mesh(to.mesh.v);
    out.set_from_epoch(from.epoch.v);
    out.set_from_hash(map_hash(from));
    out.set_to_epoch(to.epoch.v);
    out.set_to_hash(map_hash(to));
    compare(
        from.corelets, to.corelets,
        [&](const Corelet& corelet, const Corelet* former) {
            if (former == nullptr || *former != corelet) encode(corelet, *out.add_corelets());
        },
        [&](CoreletId gone) { out.add_corelets_gone(gone.v); });
    compare(
        from.pools, to.pools,
        [&](const Pool& pool, const Pool* former) {
            if (former == nullptr || !same(*former, pool)) tell_pool(former, pool, *out.add_pools());
        },
        [&](PoolId gone) { out.add_pools_gone(gone.v); });
    out.set_next_pool(to.next_pool.v);
    out.set_unknown(to.unknown);
    return seal(k_delta_kind, out.SerializeAsString());
}

Result<Map> apply_delta(const Map& map, Bytes bytes) {
    TRY(pb::MapDelta delta, parse(bytes));
    if (delta.from_epoch() != map.epoch.v || delta.from_hash() != map_hash(map))
        return fail(Code::kStaleMap, "map delta: it leads from another map", delta.from_epoch());
    Map to;
    to.mesh = MeshId(delta.mesh());
    to.epoch = MapEpoch(delta.to_epoch());
    to.next_pool = PoolId(delta.next_pool());
    TRY(to.corelets, apply_corelets(map, delta));
    TRY(to.pools, apply_pools(map, delta));
    pb::Map unknown;
    if (!unknown.ParseFromString(delta.unknown())) return fail(Code::kInvalid, "map delta: fields that are none");
    to.unknown = take_unknown(unknown);
    TRY_VOID(check_map(to));
    if (map_hash(to) != delta.to_hash())
        return fail(Code::kInvalid, "map delta: it does not make the map that it names", delta.to_epoch());
    return to;
}

bool is_map_delta(Bytes bytes) {
    return magic_of(bytes) == k_delta_kind.magic;
}

Result<DeltaSpan> delta_span(Bytes bytes) {
    TRY(pb::MapDelta const delta, parse(bytes));
    return DeltaSpan{MapEpoch(delta.from_epoch()), MapEpoch(delta.to_epoch())};
}

}  // namespace corelet::mesh
