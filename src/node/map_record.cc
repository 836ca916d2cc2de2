#include "node/map_record.h"

#include <algorithm>

#include "base/checksum.h"
#include "mesh/envelope.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.h"
#include "node/node.pb.h"

namespace corelet {
namespace {

constexpr mesh::EnvelopeKind k_kind{0x484D4C43, 1, "map head"};  // "CLMH"
constexpr usize k_parts_max = 64;

std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

std::string delta_key(MapEpoch epoch) {
    return k_map_pieces_prefix + hex64(epoch.v);
}

// Another map of the same epoch, that was never agreed on, has other parts.
std::string part_key(MapEpoch epoch, Bytes base, usize number) {
    return k_map_pieces_prefix + hex64(epoch.v) + "." + hex64(u64{crc32c(base)} << 32 | base.size()) + "." +
           std::to_string(number);
}

void encode(const std::vector<MapPiece>& from, google::protobuf::RepeatedPtrField<pb::MapPiece>& to) {
    for (const MapPiece& piece : from) {
        auto* const added = to.Add();
        added->set_key(piece.key);
        added->set_bytes(piece.bytes);
        added->set_epoch(piece.epoch.v);
    }
}

// Each further than the one before it, but for the parts of a base, which all lead to one epoch.
Result<std::vector<MapPiece>> decode(const google::protobuf::RepeatedPtrField<pb::MapPiece>& from) {
    std::vector<MapPiece> out;
    for (const pb::MapPiece& piece : from) {
        if (!piece.key().starts_with(k_map_pieces_prefix) || piece.epoch() == 0)
            return fail(Code::kInvalid, "map head: a piece that is none");
        out.push_back({piece.key(), piece.bytes(), MapEpoch(piece.epoch())});
    }
    return out;
}

Result<MapHead> decode_head(Bytes bytes) {
    TRY(auto const from, mesh::unseal_message<pb::MapHead>(k_kind, bytes));
    bool const bounded = from.base_size() <= static_cast<int>(k_parts_max) &&
                         from.deltas_size() <= static_cast<int>(k_map_chain_deltas_max);
    if (!bounded || from.base().empty()) return fail(Code::kInvalid, "map head: number of pieces");
    MapHead to{MeshId(from.mesh()), MapEpoch(from.epoch()), from.hash(), {}, {}};
    TRY(to.base, decode(from.base()));
    TRY(to.deltas, decode(from.deltas()));
    MapEpoch at = to.base.front().epoch;
    bool in_order = std::ranges::all_of(to.base, [&](const MapPiece& piece) { return piece.epoch == at; });
    for (const MapPiece& piece : to.deltas) {
        in_order = in_order && piece.epoch > at;
        at = piece.epoch;
    }
    if (!in_order || at != to.epoch) return fail(Code::kInvalid, "map head: pieces out of order");
    return to;
}

usize bytes_of(const std::vector<MapPiece>& pieces) {
    usize out = 0;
    for (const MapPiece& piece : pieces) out += piece.bytes;
    return out;
}

bool is_map_of(const MapHead& head, const mesh::Map& map) {
    return map.epoch == head.epoch && mesh::map_hash(map) == head.hash;
}

// The deltas that follow this epoch; nothing if the chain does not come by it.
std::optional<std::span<const MapPiece>> deltas_after(const MapHead& head, MapEpoch epoch) {
    std::span<const MapPiece> const all(head.deltas);
    if (epoch == head.base.front().epoch) return all;
    for (usize i = 0; i < all.size(); ++i)
        if (all[i].epoch == epoch) return all.subspan(i + 1);
    return std::nullopt;
}

Result<const std::string*> found(const MapPiece& piece, const PieceFinder& find) {
    const std::string* const value = find(piece.key);
    if (value == nullptr) return fail(Code::kUnknown, "map: its piece " + piece.key + " is not here");
    if (value->size() != piece.bytes) return fail(Code::kCorrupt, "map: length of its piece " + piece.key);
    return value;
}

Result<mesh::Map> apply_all(mesh::Map map, std::span<const MapPiece> deltas, const PieceFinder& find) {
    for (const MapPiece& piece : deltas) {
        TRY(const std::string* const value, found(piece, find));
        TRY(map, mesh::apply_delta(map, as_bytes(*value)));
    }
    return map;
}

Result<mesh::Map> base_of(const MapHead& head, const PieceFinder& find) {
    std::string whole;
    for (const MapPiece& piece : head.base) {
        TRY(const std::string* const value, found(piece, find));
        whole += *value;
    }
    return mesh::apply_delta(mesh::Map{}, as_bytes(whole));
}

Result<mesh::Map> checked(Result<mesh::Map> map, const MapHead& head) {
    if (map && !is_map_of(head, *map))
        return fail(Code::kInvalid, "map: its pieces make another map than the head names", head.epoch.v);
    return map;
}

Result<MapWrite> write_base(const mesh::Map& next, usize piece_bytes) {
    auto const base = mesh::make_delta(mesh::Map{}, next);
    if (base.size() > k_map_base_bytes_max)
        return fail(Code::kNoSpace, "the map would have " + std::to_string(base.size()) + " bytes, of " +
                                        std::to_string(k_map_base_bytes_max) +
                                        ": too many corelets or pools for one mesh, or tables not settled yet");
    piece_bytes = std::max(piece_bytes, div_ceil(base.size(), k_parts_max));
    MapHead head{next.mesh, next.epoch, mesh::map_hash(next), {}, {}};
    MapWrite out;
    for (usize at = 0; at < base.size(); at += piece_bytes) {
        Bytes const part = Bytes(base).subspan(at, std::min(piece_bytes, base.size() - at));
        std::string key = part_key(next.epoch, base, head.base.size());
        head.base.push_back({key, static_cast<u32>(part.size()), next.epoch});
        out.before.emplace_back(std::move(key), text_of(part));
    }
    out.value = encode_map_head(head);
    return out;
}

}  // namespace

Result<MapRecord> decode_map_record(std::string_view value, const mesh::Map& known) {
    if (mesh::magic_of(as_bytes(value)) == k_kind.magic) {
        TRY(MapHead head, decode_head(as_bytes(value)));
        return MapRecord(std::move(head));
    }
    TRY(mesh::Map map, mesh::decode_map(as_bytes(value), [&](MapEpoch epoch, u64 hash) -> mesh::TablePtr {
            for (const mesh::Pool& pool : known.pools)
                if (mesh::TablePtr table = pool.table(epoch); table && table->hash() == hash) return table;
            return nullptr;
        }));
    return MapRecord(std::move(map));
}

std::string encode_map_head(const MapHead& head) {
    pb::MapHead to;
    to.set_mesh(head.mesh.v);
    to.set_epoch(head.epoch.v);
    to.set_hash(head.hash);
    encode(head.base, *to.mutable_base());
    encode(head.deltas, *to.mutable_deltas());
    return text_of(mesh::seal(k_kind, to.SerializeAsString()));
}

Result<mesh::Map> assemble_map(const MapRecord& record, const mesh::Map& known, const PieceFinder& find) {
    if (const auto* const whole = std::get_if<mesh::Map>(&record)) return *whole;
    auto const& head = std::get<MapHead>(record);
    if (is_map_of(head, known)) return known;
    if (auto const after = deltas_after(head, known.epoch); after && !after->empty()) {
        auto map = checked(apply_all(known, *after, find), head);
        // Another map of that epoch: from the beginning, then.
        if (map || map.error().code != Code::kStaleMap) return map;
    }
    TRY(mesh::Map base, base_of(head, find));
    return checked(apply_all(std::move(base), head.deltas, find), head);
}

Result<mesh::Map> read_map_record(std::string_view value, const mesh::Map& known, const PieceFinder& find) {
    TRY(MapRecord const record, decode_map_record(value, known));
    return assemble_map(record, known, find);
}

Result<mesh::Map> remembered_map(std::string_view bytes) {
    return mesh::is_map_delta(as_bytes(bytes)) ? mesh::apply_delta(mesh::Map{}, as_bytes(bytes))
                                               : mesh::decode_map(as_bytes(bytes), {});
}

Result<MapWrite> plan_map_write(const MapRecord& record, const mesh::Map& map, const mesh::Map& next,
                                const MapWriteLimits& limits) {
    MapWrite out;
    auto const whole = mesh::encode_map(next);
    if (whole.size() <= limits.whole_bytes) {
        out.value = text_of(whole);
        return out;
    }
    const auto* const former = std::get_if<MapHead>(&record);
    if (former == nullptr || former->deltas.size() == k_map_chain_deltas_max)
        return write_base(next, limits.piece_bytes);
    auto const delta = mesh::make_delta(map, next);
    bool const is_small = delta.size() <= limits.piece_bytes &&
                          2 * (bytes_of(former->deltas) + delta.size()) <= bytes_of(former->base);
    if (!is_small) return write_base(next, limits.piece_bytes);
    MapHead head = *former;
    head.epoch = next.epoch;
    head.hash = mesh::map_hash(next);
    head.deltas.push_back({delta_key(next.epoch), static_cast<u32>(delta.size()), next.epoch});
    out.with.emplace_back(delta_key(next.epoch), text_of(delta));
    out.value = encode_map_head(head);
    return out;
}

std::vector<std::string> pieces_unused(const MapRecord& record, const std::vector<std::string>& keys) {
    std::set<std::string> named;
    if (const auto* const head = std::get_if<MapHead>(&record)) {
        for (const MapPiece& piece : head->base) named.insert(piece.key);
        for (const MapPiece& piece : head->deltas) named.insert(piece.key);
    }
    std::vector<std::string> out;
    for (const std::string& key : keys)
        if (key.starts_with(k_map_pieces_prefix) && !named.contains(key)) out.push_back(key);
    return out;
}

}  // namespace corelet
