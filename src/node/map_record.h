// How the map stands in the catalog. A small one lies whole under `map`. A large one is a chain: `map` is a head
// that names pieces, first a base (the map of some epoch as a delta from nothing, cut into parts), then the deltas
// that came after. So a change writes a head and what has changed, a reader fetches what it lacks, and no value
// comes near what a request may have (etcd takes 1.5 MiB).
//
// Pure: what is to be written, and what is to be read. Pieces never change: one of a delta is named by the epoch
// that it leads to and written with the head that names it; parts of a base are named by their contents too, and
// written before it, since they may be more than one request holds. What no head names any more is removed later.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "mesh/map.h"

namespace corelet {

inline constexpr const char* k_map_key = "map";
inline constexpr const char* k_map_pieces_prefix = "map/";
// The version before this one knows whole maps only.
inline constexpr usize k_map_whole_bytes_max = 128 * k_kib;
inline constexpr usize k_map_piece_bytes_max = 256 * k_kib;
// A longer chain begins anew with a base; so does one whose deltas are half of it.
inline constexpr usize k_map_chain_deltas_max = 64;
// Of a base. Two of them stand in the catalog for a while.
inline constexpr usize k_map_base_bytes_max = 1536 * k_kib;

struct MapPiece {
    std::string key;
    u32 bytes = 0;
    MapEpoch epoch;  // of the map that it leads to
    friend bool operator==(const MapPiece&, const MapPiece&) = default;
};

struct MapHead {
    MeshId mesh;
    MapEpoch epoch;
    u64 hash = 0;  // of the map (mesh/map_delta.h)
    std::vector<MapPiece> base;
    std::vector<MapPiece> deltas;
    friend bool operator==(const MapHead&, const MapHead&) = default;
};

// What `map` says. kCorrupt, kInvalid, kUnsupported: not one of both.
using MapRecord = std::variant<mesh::Map, MapHead>;
[[nodiscard]] Result<MapRecord> decode_map_record(std::string_view value, const mesh::Map& known);
[[nodiscard]] std::string encode_map_head(const MapHead& head);

// The map that it is, from `known` and pieces, of which only those are looked for that are needed; the first that
// `find` does not have (null) ends it with kUnknown. kInvalid, kCorrupt: they do not make that map.
using PieceFinder = std::function<const std::string*(const std::string& key)>;
[[nodiscard]] Result<mesh::Map> assemble_map(const MapRecord& record, const mesh::Map& known,
                                             const PieceFinder& find);

// Both at once.
[[nodiscard]] Result<mesh::Map> read_map_record(std::string_view value, const mesh::Map& known,
                                                const PieceFinder& find);

// A map by itself, as a device remembers it: whole, or as a delta from nothing. Errors of either.
[[nodiscard]] Result<mesh::Map> remembered_map(std::string_view bytes);

struct MapWrite {
    using Item = std::pair<std::string, std::string>;
    std::vector<Item> before;  // each on condition that nothing else stands there, before the rest
    std::vector<Item> with;    // together with `map`, on condition that all of `before` are there
    std::string value;         // of `map`
};
struct MapWriteLimits {
    usize whole_bytes = k_map_whole_bytes_max;
    usize piece_bytes = k_map_piece_bytes_max;
};
// `record` is what stands there, and `map` what it says; `next` follows it. kNoSpace: the map is too large for a
// mesh.
[[nodiscard]] Result<MapWrite> plan_map_write(const MapRecord& record, const mesh::Map& map, const mesh::Map& next,
                                              const MapWriteLimits& limits = {});

// Keys of `items` below k_map_pieces_prefix that the record does not name.
[[nodiscard]] std::vector<std::string> pieces_unused(const MapRecord& record, const std::vector<std::string>& keys);

}  // namespace corelet
