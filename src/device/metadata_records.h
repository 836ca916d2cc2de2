// The records of the metadata journal: what Store writes and Metadata applies. docs/format/device.md has the bytes.
#pragma once

#include <string>
#include <vector>

#include "base/codec.h"
#include "device/metadata.h"

namespace corelet::records {

enum class Type : u8 {
    kMount = 1,
    kPut = 2,  // adds a fragment, or moves one that is there (repair)
    kRemove = 3,
    kQuarantine = 4,
    kPrepare = 5,
    kGrow = 6,
    kFence = 7,
    kSeal = 8,
    kDrop = 9,
    kAdopt = 10,
    kNote = 11,
    kFrontier = 12,
};

using Record = std::vector<u8>;
[[nodiscard]] Record mount(Incarnation incarnation, u64 boot_nonce);
[[nodiscard]] Record put(const FragmentEntry& entry, const std::vector<UnitExtent>& extents);
[[nodiscard]] Record remove(const FragmentId& id);
[[nodiscard]] Record quarantine(const FragmentId& id, bool on);
[[nodiscard]] Record prepare(const SegmentEntry& entry);
[[nodiscard]] Record grow(const SegmentId& id, const std::vector<UnitExtent>& extents);
[[nodiscard]] Record fence(const SegmentId& id, Epoch epoch, CoreletId owner);
[[nodiscard]] Record seal(const SegmentId& id, u64 end);
[[nodiscard]] Record drop(const SegmentId& id);
[[nodiscard]] Record adopt(const SegmentId& segment, const FragmentEntry& entry,
                           const std::vector<UnitExtent>& extents);
[[nodiscard]] Record note(const std::string& key, Bytes value);
[[nodiscard]] Record frontier(u64 unit);

// Parts shared by records and snapshots.
void put_fragment_entry(Writer& w, const FragmentEntry& entry);
[[nodiscard]] FragmentEntry get_fragment_entry(Reader& r);
void put_extents(Writer& w, const std::vector<UnitExtent>& extents);
[[nodiscard]] std::vector<UnitExtent> get_extents(Reader& r);
void put_segment_entry(Writer& w, const SegmentEntry& entry);
[[nodiscard]] SegmentEntry get_segment_entry(Reader& r);

inline constexpr u64 k_fragment_entry_bytes = 32;
inline constexpr u64 k_segment_entry_bytes = 78;  // without opaque and extents

}  // namespace corelet::records
