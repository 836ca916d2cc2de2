#include "mesh/map_message.h"

#include "mesh/weight.h"

namespace corelet::mesh {
namespace {

// Numbers of outside messages are wider than ours.
template <class To>
bool narrow(u64 from, To& to) {
    to = static_cast<To>(from);
    return static_cast<u64>(to) == from;
}

u8& cap_of(PoolSpec& spec, Level level) {
    return spec.caps[static_cast<usize>(level)];
}
u8 cap_of(const PoolSpec& spec, Level level) {
    return spec.caps[static_cast<usize>(level)];
}

}  // namespace

void clear_known(pb::Corelet& message) {
    message.clear_id();
    message.clear_incarnation();
    message.clear_addresses();
    message.clear_zone();
    message.clear_rack();
    message.clear_chassis();
    message.clear_role();
    message.clear_presence();
    message.clear_duty();
    message.clear_weight();
    message.clear_capacity_bytes();
    message.clear_former();
    message.clear_device_class();
    message.clear_cordoned();
    message.clear_fine_weight();
}

void clear_known(pb::Pool& message) {
    message.clear_id();
    message.clear_name();
    message.clear_data();
    message.clear_parity();
    message.clear_level();
    message.clear_min_copies();
    message.clear_write_quorum();
    message.clear_strategy();
    message.clear_chunk_bytes();
    message.clear_locality();
    message.clear_tables();
    message.clear_clean();
    message.clear_move_wanted();
    message.clear_device_class();
    message.clear_chassis_cap();
    message.clear_rack_cap();
    message.clear_zone_cap();
    message.clear_read_quorum();
    message.clear_repair_threshold();
    message.clear_least_quorum();
}

void clear_known(pb::Map& message) {
    message.clear_mesh();
    message.clear_epoch();
    message.clear_corelets();
    message.clear_pools();
    message.clear_next_pool();
}

void encode(const Corelet& from, pb::Corelet& to) {
    restore_unknown(from.unknown, to);
    to.set_id(from.id.v);
    to.set_incarnation(from.incarnation.v);
    for (const std::string& address : from.addresses) to.add_addresses(address);
    to.set_zone(from.location.zone);
    to.set_rack(from.location.rack);
    to.set_chassis(from.location.chassis);
    to.set_role(static_cast<u32>(from.role));
    to.set_presence(static_cast<u32>(from.presence));
    to.set_duty(static_cast<u32>(from.duty));
    to.set_weight(weight_in_gib(from.weight));
    if (weight_from_gib(to.weight(), from.capacity_bytes) != from.weight) to.set_fine_weight(from.weight);
    to.set_capacity_bytes(from.capacity_bytes);
    to.set_device_class(from.device_class);
    to.set_cordoned(from.cordoned);
    for (const FormerIdentity& former : from.former) {
        auto* added = to.add_former();
        added->set_id(former.id.v);
        added->set_incarnation(former.incarnation.v);
    }
}

Result<Corelet> decode(pb::Corelet& from) {
    Corelet to;
    to.id = CoreletId(from.id());
    to.incarnation = Incarnation(from.incarnation());
    to.addresses.assign(from.addresses().begin(), from.addresses().end());
    to.location = {from.zone(), from.rack(), from.chassis()};
    u8 role = 0, presence = 0, duty = 0;
    if (!narrow(from.role(), role) || !narrow(from.presence(), presence) || !narrow(from.duty(), duty)) {
        return fail(Code::kInvalid, "map: a corelet's state is out of range");
    }
    to.role = static_cast<Role>(role);
    to.presence = static_cast<Presence>(presence);
    to.duty = static_cast<Duty>(duty);
    to.capacity_bytes = from.capacity_bytes();
    to.weight = from.fine_weight() != 0 ? from.fine_weight() : weight_from_gib(from.weight(), to.capacity_bytes);
    to.device_class = from.device_class();
    to.cordoned = from.cordoned();
    for (const pb::FormerIdentity& former : from.former()) {
        to.former.push_back({CoreletId(former.id()), Incarnation(former.incarnation())});
    }
    to.unknown = take_unknown(from);
    TRY_VOID(check_corelet(to));
    return to;
}

void encode(const SlotTable& from, bool with_rows, pb::Table& to) {
    to.set_epoch(from.epoch().v);
    to.set_hash(from.hash());
    to.set_slots(from.slots());
    to.set_width(from.width());
    if (!with_rows) return;
    for (CoreletId id : from.members()) to.add_members(id.v);
    to.mutable_indexes()->Add(from.indexes().begin(), from.indexes().end());
}

Result<TablePtr> decode(const pb::Table& from, const TableFinder& find) {
    MapEpoch const epoch(from.epoch());
    TablePtr table = find ? find(epoch, from.hash()) : nullptr;
    if (table == nullptr && from.indexes_size() == 0)
        return fail(Code::kUnknown, "map: a table it names is not known here", epoch.v);
    if (table == nullptr) {
        if (from.indexes_size() > static_cast<i64>(k_slots_max) * k_width_max)
            return fail(Code::kInvalid, "map: table");
        std::vector<CoreletId> members;
        for (u64 id : from.members()) members.push_back(CoreletId(id));
        std::vector<u16> indexes;
        indexes.reserve(static_cast<usize>(from.indexes_size()));
        for (u32 index : from.indexes()) {
            u16 narrowed = 0;
            if (!narrow(index, narrowed)) return fail(Code::kInvalid, "map: a cell names no member");
            indexes.push_back(narrowed);
        }
        TRY(table,
            SlotTable::from_indexes(epoch, from.slots(), from.width(), std::move(members), std::move(indexes)));
    }
    bool const same = table->epoch() == epoch && table->hash() == from.hash() && table->slots() == from.slots() &&
                      table->width() == from.width();
    if (!same) return fail(Code::kInvalid, "map: a table is not the one named", epoch.v);
    return table;
}

void encode(const Pool& from, bool with_rows, pb::Pool& to) {
    restore_unknown(from.unknown, to);
    to.set_id(from.id.v);
    to.set_name(from.spec.name);
    to.set_data(from.spec.redundancy.k);
    to.set_parity(from.spec.redundancy.m);
    to.set_level(static_cast<u32>(from.spec.level));
    to.set_min_copies(from.spec.min_copies);
    to.set_write_quorum(from.spec.write_quorum);
    to.set_strategy(from.spec.strategy);
    to.set_chunk_bytes(from.spec.chunk_bytes);
    to.set_locality(from.spec.locality);
    for (const TablePtr& table : from.tables) encode(*table, with_rows, *to.add_tables());
    for (const CleanReport& report : from.clean) {
        auto* added = to.add_clean();
        added->set_corelet(report.corelet.v);
        added->set_table_epoch(report.table_epoch.v);
    }
    to.set_move_wanted(from.move_wanted);
    to.set_device_class(from.spec.device_class);
    to.set_chassis_cap(cap_of(from.spec, Level::kChassis));
    to.set_rack_cap(cap_of(from.spec, Level::kRack));
    to.set_zone_cap(cap_of(from.spec, Level::kZone));
    to.set_read_quorum(from.spec.read_quorum);
    to.set_repair_threshold(from.spec.repair_threshold);
    to.set_least_quorum(from.least_quorum);
}

Result<Pool> decode(pb::Pool& from, const TableFinder& find) {
    Pool to;
    to.id = PoolId(from.id());
    to.spec.name = from.name();
    u8 level = 0;
    bool fits = narrow(from.data(), to.spec.redundancy.k) && narrow(from.parity(), to.spec.redundancy.m);
    fits = fits && narrow(from.level(), level) && narrow(from.min_copies(), to.spec.min_copies);
    fits = fits && narrow(from.write_quorum(), to.spec.write_quorum) && narrow(from.locality(), to.spec.locality);
    fits = fits && narrow(from.chassis_cap(), cap_of(to.spec, Level::kChassis));
    fits = fits && narrow(from.rack_cap(), cap_of(to.spec, Level::kRack));
    fits = fits && narrow(from.zone_cap(), cap_of(to.spec, Level::kZone));
    fits = fits && narrow(from.read_quorum(), to.spec.read_quorum);
    fits = fits && narrow(from.repair_threshold(), to.spec.repair_threshold);
    fits = fits && narrow(from.least_quorum(), to.least_quorum);
    if (!fits) return fail(Code::kInvalid, "map: a pool's number is out of range");
    to.spec.device_class = from.device_class();
    to.spec.level = static_cast<Level>(level);
    to.spec.strategy = from.strategy();
    to.spec.chunk_bytes = from.chunk_bytes();
    if (from.tables_size() > static_cast<int>(k_tables_max)) return fail(Code::kInvalid, "map: too many tables");
    for (const pb::Table& table : from.tables()) {
        TRY(TablePtr decoded, decode(table, find));
        to.tables.push_back(std::move(decoded));
    }
    for (const pb::CleanReport& report : from.clean()) {
        to.clean.push_back({CoreletId(report.corelet()), MapEpoch(report.table_epoch())});
    }
    to.move_wanted = from.move_wanted();
    to.unknown = take_unknown(from);
    return to;
}

}  // namespace corelet::mesh
