// What a volume writes into its log: the meaning of LogEntry::meta. Layout: docs/format/volume.md.
#pragma once

#include <variant>

#include "stream/log_stream.h"
#include "volume/map_format.h"

namespace corelet {

namespace volume_entry {
// The entry's blocks are, in order, the new contents of these runs.
struct Write {
    u64 ticket = 0;  // names the request to the owner that sent it; no meaning to any other
    std::vector<Extent> extents;
};
// The runs become holes, or allocated zeros.
struct Clear {
    u64 ticket = 0;
    bool keep_allocated = false;
    std::vector<Extent> extents;
};
// The chunk is durable: each block its index names moves there, if the map still names the block's old place.
struct Packed {
    u64 chunk = 0;
    u32 chunk_blocks = 0;
};
// Quarantine: no reference to these may be made from here on (protocols 8.4).
struct Condemned {
    std::vector<u64> containers;
};
// The segment is a chunk with k = 1 now, in place (protocols 8.8); the index chunk says which blocks it holds.
struct Adopted {
    u64 segment = 0;
    u32 segment_blocks = 0;
    u64 index_chunk = 0;
    u32 index_blocks = 0;
};
struct Resized {
    u64 size_bytes = 0;
};
// The chunk is durable: each block its index names has its contents there now. Given up: the chunk may exist,
// nothing is in it.
struct Placed {
    u64 ticket = 0;
    u64 chunk = 0;
    u32 chunk_blocks = 0;
    bool given_up = false;
};
}  // namespace volume_entry
using VolumeEntry =
    std::variant<volume_entry::Write, volume_entry::Clear, volume_entry::Packed, volume_entry::Condemned,
                 volume_entry::Adopted, volume_entry::Resized, volume_entry::Placed>;

inline constexpr usize k_condemned_max = 4096;  // containers an entry
inline constexpr usize k_extents_max = 2048;    // runs an entry

[[nodiscard]] std::vector<u8> encode_volume_entry(const VolumeEntry& entry);
// kCorrupt: not such an entry, or beyond the bounds; kUnsupported: of a later version.
[[nodiscard]] Result<VolumeEntry> decode_volume_entry(Bytes meta);

}  // namespace corelet
