#include "mesh/map_codec.h"

#include "mesh/envelope.h"
#include "mesh/map_message.h"

namespace corelet::mesh {
namespace {

constexpr EnvelopeKind k_map_kind{0x504D4C43, 1, "map"};  // "CLMP"

std::vector<u8> encode(const Map& from, bool with_rows) {
    pb::Map to;
    restore_unknown(from.unknown, to);
    to.set_mesh(from.mesh.v);
    to.set_epoch(from.epoch.v);
    for (const Corelet& corelet : from.corelets) encode(corelet, *to.add_corelets());
    for (const Pool& pool : from.pools) encode(pool, with_rows, *to.add_pools());
    to.set_next_pool(from.next_pool.v);
    return seal(k_map_kind, to.SerializeAsString());
}

}  // namespace

std::vector<u8> encode_map(const Map& map) {
    return encode(map, true);
}
std::vector<u8> encode_outline(const Map& map) {
    return encode(map, false);
}

std::vector<u8> encode_table(const SlotTable& table) {
    pb::Table message;
    encode(table, true, message);
    return seal(k_map_kind, message.SerializeAsString());
}

Result<Map> decode_map(Bytes bytes, const TableFinder& find) {
    TRY(pb::Map from, unseal_message<pb::Map>(k_map_kind, bytes));
    Map to;
    to.mesh = MeshId(from.mesh());
    to.epoch = MapEpoch(from.epoch());
    to.next_pool = PoolId(from.next_pool());
    for (pb::Corelet& corelet : *from.mutable_corelets()) {
        TRY(Corelet decoded, decode(corelet));
        to.corelets.push_back(std::move(decoded));
    }
    for (pb::Pool& pool : *from.mutable_pools()) {
        TRY(Pool decoded, decode(pool, find));
        to.pools.push_back(std::move(decoded));
    }
    to.unknown = take_unknown(from);
    TRY_VOID(check_map(to));
    return to;
}

Result<TablePtr> decode_table(Bytes bytes) {
    TRY(pb::Table const from, unseal_message<pb::Table>(k_map_kind, bytes));
    if (from.indexes_size() == 0) return fail(Code::kInvalid, "map: a table without rows");
    return decode(from, {});
}

}  // namespace corelet::mesh
