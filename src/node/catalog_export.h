// The catalog as a text that outlives it: JSON lines with a head and, at the end, a checksum over all before it.
// docs/format/export.md. Pure.
//
// Of a device that is not in use it also tells what its corelet knows apart from the catalog: the last map, and
// what it holds of the log. That is what a catalog that has lost its majority is recovered with
// (catalog_recovery.h).
#pragma once

#include <string>
#include <vector>

#include "catalog/state.h"
#include "raft/types.h"
#include "stream/log_stream.h"

namespace corelet {

inline constexpr u32 k_export_version = 1;
inline constexpr usize k_export_bytes_max = 64 * k_mib;

// A replica of a segment of a stream's log.
struct HeldSegment {
    SegmentId id;
    u64 salt = 0;
    Epoch epoch;                // the newest stored there
    RecordNumber first_record;  // zero: it was never written, or does not read
    friend bool operator==(const HeldSegment&, const HeldSegment&) = default;
};

struct CatalogExport {
    MeshId mesh;
    CoreletId source;
    bool live = false;         // by a linearizable read of a running catalog
    bool has_catalog = false;  // a device that never voted has none
    raft::Position position;   // where the source's log ends; zero of a live one
    raft::Term term;           // the highest that it has heard of
    pb::CatalogSnapshot catalog;
    std::vector<CoreletId> voters;
    std::string map_note;  // the last map that the device remembers; of a live one empty
    std::vector<HeldSegment> segments;
    u64 space_max = 0;  // the highest number of a space of which the device holds anything
};

[[nodiscard]] std::string encode_export(const CatalogExport& in);
// kCorrupt: cut short, changed, or no export (with the line); kUnsupported: of a newer version.
[[nodiscard]] Result<CatalogExport> decode_export(std::string_view text);

}  // namespace corelet
