// What changed from one map to a later one, as bytes: some hundred for most events, where the map may have a
// million. So news of the mesh fit a datagram, or a short answer.
//
// Each names the maps that it leads from and to, by epoch and hash of the outline, in which each table stands by
// its own hash. It is applied to no other map, and what comes out is that map or nothing. A delta from Map{} is the
// whole map; its tables are packed, and older tables of a pool are told as changes of one another.
//
// Envelope: "CLMD", as in envelope.h; payload: map_delta.proto.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "mesh/map.h"

namespace corelet::mesh {

inline constexpr usize k_map_delta_bytes_max = 16 * k_mib;
// Of all tables in one: a few bytes can describe a large table.
inline constexpr usize k_map_delta_cells_max = 32 * k_mib;

// Stands for everything in a map. Zero for Map{}.
[[nodiscard]] u64 map_hash(const Map& map);

// `to` is of a later epoch, and of the same mesh unless `from` is Map{}.
[[nodiscard]] std::vector<u8> make_delta(const Map& from, const Map& to);

// kCorrupt: damaged. kUnsupported: of a newer version. kInvalid: it makes no map, or not the one it names.
// kStaleMap: it leads from another map (detail: that one's epoch).
[[nodiscard]] Result<Map> apply_delta(const Map& map, Bytes delta);

// Whether these bytes may be one: by their magic.
[[nodiscard]] bool is_map_delta(Bytes bytes);

// Which epochs it leads from and to. The same errors, but for kStaleMap.
struct DeltaSpan {
    MapEpoch from;
    MapEpoch to;
    friend bool operator==(const DeltaSpan&, const DeltaSpan&) = default;
};
[[nodiscard]] Result<DeltaSpan> delta_span(Bytes delta);

// One change, with what it says of itself.
struct MapStep {
    MapEpoch from;
    MapEpoch to;
    std::vector<u8> delta;
};

}  // namespace corelet::mesh
