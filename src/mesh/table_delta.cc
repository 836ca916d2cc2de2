#include "mesh/table_delta.h"

#include <algorithm>
#include <bit>

namespace corelet::mesh {
namespace {

constexpr u16 k_elsewhere = 0xFFFF;  // no index: a table has fewer members
static_assert(k_corelets_max < k_elsewhere);

unsigned bits_of(usize members) {
    return static_cast<unsigned>(std::bit_width(members));
}

std::string pack(const std::vector<u16>& indexes, unsigned bits) {
    std::string out;
    out.reserve((indexes.size() * bits + 7) / 8);
    u64 held = 0;
    unsigned count = 0;
    for (u16 index : indexes) {
        held |= u64{index} << count;
        for (count += bits; count >= 8; count -= 8, held >>= 8) out.push_back(static_cast<char>(held & 0xFF));
    }
    if (count > 0) out.push_back(static_cast<char>(held));
    return out;
}

std::vector<u16> unpack(const std::string& packed, unsigned bits, usize cells) {
    std::vector<u16> out(cells);
    u64 held = 0;
    unsigned count = 0;
    usize next = 0;
    for (u16& index : out) {
        for (; count < bits; count += 8) held |= u64{static_cast<u8>(packed[next++])} << count;
        index = static_cast<u16>(held & ((1U << bits) - 1));
        held >>= bits;
        count -= bits;
    }
    return out;
}

// 1-based indexes of `from`'s members in `to`, by the index there; nobody stays nobody.
std::vector<u16> translation(const std::vector<CoreletId>& from, const std::vector<CoreletId>& to) {
    std::vector<u16> out{0};
    for (CoreletId id : from) {
        auto const found = std::lower_bound(to.begin(), to.end(), id);
        bool const there = found != to.end() && *found == id;
        out.push_back(there ? static_cast<u16>(found - to.begin() + 1) : k_elsewhere);
    }
    return out;
}

bool is_base(const SlotTable& base, const SlotTable& table) {
    return base.width() == table.width() && base.slots() <= table.slots();
}

// Calls f(cell) for each cell of the table whose member is another than the base's.
template <class F>
void for_each_change(const SlotTable& base, const SlotTable& table, F f) {
    auto const translated = translation(base.members(), table.members());
    auto const& before = base.indexes();
    auto const& after = table.indexes();
    for (usize cell = 0; cell < after.size(); ++cell) {
        if (translated[before[cell % before.size()]] != after[cell]) f(cell);
    }
}

// Members that take a place, ascending, as 1-based indexes into the table's.
std::vector<u16> arriving(const SlotTable& base, const SlotTable& table) {
    std::vector<u16> out;
    for_each_change(base, table, [&](usize cell) { out.push_back(table.indexes()[cell]); });
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    std::erase(out, u16{0});
    return out;
}

pb::TableDelta packed(const SlotTable& table) {
    pb::TableDelta out;
    out.set_epoch(table.epoch().v);
    out.set_slots(table.slots());
    out.set_width(table.width());
    for (CoreletId id : table.members()) out.add_members(id.v);
    out.set_cells(pack(table.indexes(), bits_of(table.members().size())));
    return out;
}

pb::TableDelta changes(const SlotTable& base, const SlotTable& table) {
    pb::TableDelta out;
    out.set_epoch(table.epoch().v);
    out.set_base_epoch(base.epoch().v);
    out.set_base_hash(base.hash());
    out.set_slots(table.slots());
    out.set_width(table.width());
    auto const members = arriving(base, table);
    for (u16 index : members) out.add_members(table.members()[index - 1U].v);
    usize next = 0;
    for_each_change(base, table, [&](usize cell) {
        out.add_gaps(static_cast<u32>(cell - next));
        next = cell + 1;
        u16 const index = table.indexes()[cell];
        auto const place = std::lower_bound(members.begin(), members.end(), index) - members.begin();
        out.add_who(index == 0 ? 0 : static_cast<u32>(place + 1));
    });
    return out;
}

// A member that stands nowhere does not belong to a table: the same contents give the same bytes.
Result<TablePtr> trimmed(MapEpoch epoch, u32 slots, unsigned width, const std::vector<CoreletId>& members,
                         std::vector<u16> indexes) {
    std::vector<u16> renamed(members.size() + 1);
    for (u16 index : indexes) renamed[index] = 1;
    renamed[0] = 0;
    std::vector<CoreletId> present;
    for (usize i = 1; i < renamed.size(); ++i) {
        if (renamed[i] == 0) continue;
        present.push_back(members[i - 1]);
        renamed[i] = static_cast<u16>(present.size());
    }
    for (u16& index : indexes) index = renamed[index];
    return SlotTable::from_indexes(epoch, slots, width, std::move(present), std::move(indexes));
}

Result<std::vector<CoreletId>> members_of(const pb::TableDelta& delta) {
    if (delta.members_size() > static_cast<int>(k_corelets_max))
        return fail(Code::kInvalid, "map delta: too many members of a table");
    std::vector<CoreletId> out;
    for (u64 id : delta.members()) {
        if (id == 0 || (!out.empty() && CoreletId(id) <= out.back()))
            return fail(Code::kInvalid, "map delta: members of a table out of order");
        out.push_back(CoreletId(id));
    }
    return out;
}

Result<TablePtr> unpacked(const pb::TableDelta& delta) {
    TRY(std::vector<CoreletId> members, members_of(delta));
    usize const cells = static_cast<usize>(delta.slots()) * delta.width();
    unsigned const bits = bits_of(members.size());
    if (delta.cells().size() != (cells * bits + 7) / 8)
        return fail(Code::kInvalid, "map delta: wrong number of cells");
    return SlotTable::from_indexes(MapEpoch(delta.epoch()), delta.slots(), delta.width(), std::move(members),
                                   unpack(delta.cells(), bits, cells));
}

Result<TablePtr> changed(const SlotTable& base, const pb::TableDelta& delta) {
    TRY(std::vector<CoreletId> const arrived, members_of(delta));
    std::vector<CoreletId> all;
    std::set_union(base.members().begin(), base.members().end(), arrived.begin(), arrived.end(),
                   std::back_inserter(all));
    auto const of_base = translation(base.members(), all);
    auto const of_arrived = translation(arrived, all);
    auto const& before = base.indexes();
    std::vector<u16> indexes(static_cast<usize>(delta.slots()) * delta.width());
    for (usize cell = 0; cell < indexes.size(); ++cell) indexes[cell] = of_base[before[cell % before.size()]];
    usize next = 0;
    for (int i = 0; i < delta.gaps_size(); ++i) {
        usize const cell = next + delta.gaps(i);
        if (cell >= indexes.size() || delta.who(i) >= of_arrived.size())
            return fail(Code::kInvalid, "map delta: a change outside of its table");
        indexes[cell] = of_arrived[delta.who(i)];
        next = cell + 1;
    }
    return trimmed(MapEpoch(delta.epoch()), delta.slots(), delta.width(), all, std::move(indexes));
}

}  // namespace

std::optional<u32> cells_changed(const SlotTable& base, const SlotTable& table) {
    if (!is_base(base, table)) return std::nullopt;
    u32 count = 0;
    for_each_change(base, table, [&](usize) { ++count; });
    return count;
}

pb::TableDelta make_table_delta(const SlotTable* base, const SlotTable& table) {
    // A base is named by its epoch, and none by zero.
    if (base == nullptr || base->epoch().is_zero() || !is_base(*base, table)) return packed(table);
    auto part = changes(*base, table);
    usize const members = table.members().size();
    usize const bytes_packed = members * sizeof(CoreletId) + table.indexes().size() * bits_of(members) / 8;
    return part.ByteSizeLong() < bytes_packed ? part : packed(table);
}

Result<TablePtr> apply_table_delta(const SlotTable* base, const pb::TableDelta& delta) {
    u32 const slots = delta.slots();
    bool const in_range = std::has_single_bit(slots) && slots >= k_slots_min && slots <= k_slots_max &&
                          delta.width() >= 1 && delta.width() <= k_width_max;
    if (!in_range) return fail(Code::kInvalid, "map delta: slots or width of a table");
    if (base == nullptr) return unpacked(delta);
    bool const fits =
        base->width() == delta.width() && base->slots() <= slots && delta.gaps_size() == delta.who_size();
    if (!fits) return fail(Code::kInvalid, "map delta: a table that is no change of its base");
    return changed(*base, delta);
}

}  // namespace corelet::mesh
