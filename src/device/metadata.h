// What the metadata journal says: the fold of its records. Pure: no I/O, no clock. The same apply() serves running
// and replay, so that a mount ends in the state that was acknowledged.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "device/fragment_index.h"
#include "device/types.h"

namespace corelet {

struct SegmentEntry {
    SegmentId id;
    u64 salt = 0;
    Epoch opened_epoch;
    Epoch epoch;
    CoreletId owner;
    bool sealed = false;
    u64 end = 0;
    u64 reserved_units = 0;
    std::vector<u8> opaque;
    std::vector<UnitExtent> extents;
    [[nodiscard]] u64 units() const;
    [[nodiscard]] u64 capacity_bytes() const { return sealed ? end : units() * k_unit_bytes; }
    // It has a place, none of it empty or beyond what can be addressed, and ends within it.
    [[nodiscard]] bool is_sound() const;
    [[nodiscard]] SegmentInfo info() const;
    friend bool operator==(const SegmentEntry&, const SegmentEntry&) = default;
};

// Remembers which segments were prepared and dropped, so that none is prepared twice (protocols 2.3). Bounded: the
// last few thousand by name; older ones of a space by their highest number, which refuses a little more than
// needed; of the spaces that were longest without a drop, nothing.
class DroppedSegments {
  public:
    static constexpr usize k_names_max = 2048;
    static constexpr usize k_spaces_max = 1024;
    void add(const SegmentId& id);
    [[nodiscard]] bool has(const SegmentId& id) const;
    struct Floor {
        u64 seq = 0;
        u64 order = 0;
        friend bool operator==(const Floor&, const Floor&) = default;
    };
    [[nodiscard]] const std::deque<SegmentId>& names() const { return names_; }
    [[nodiscard]] const std::map<SpaceId, Floor>& floors() const { return floors_; }
    void restore(std::deque<SegmentId> names, std::map<SpaceId, Floor> floors, u64 next_order);
    [[nodiscard]] u64 next_order() const { return next_order_; }
    friend bool operator==(const DroppedSegments&, const DroppedSegments&) = default;

  private:
    std::deque<SegmentId> names_;  // oldest first
    std::map<SegmentId, u32> known_;
    std::map<SpaceId, Floor> floors_;
    u64 next_order_ = 1;
};

// What applying a record did to the space: for the allocator of a running store; a mount derives it from the end
// state.
struct MetadataChange {
    std::vector<UnitExtent> freed;
    // A fragment that is here now and was not, or is not any more.
    std::optional<FragmentId> came{};
    std::optional<FragmentId> went{};
};

class Metadata {
  public:
    // kCorrupt / kUnsupported: the record makes no sense here; nothing was changed.
    [[nodiscard]] Result<MetadataChange> apply(Bytes record);
    // All of it, for a snapshot, and back. kCorrupt, kUnsupported.
    [[nodiscard]] std::vector<u8> encode() const;
    [[nodiscard]] static Result<Metadata> decode(Bytes state);
    // Of encode(), without making it; never less.
    [[nodiscard]] u64 encoded_bytes() const;

    [[nodiscard]] const FragmentIndex& fragments() const { return fragments_; }
    [[nodiscard]] const std::map<SegmentId, SegmentEntry>& segments() const { return segments_; }
    [[nodiscard]] const SegmentEntry* segment(const SegmentId& id) const;
    [[nodiscard]] const DroppedSegments& dropped() const { return dropped_; }
    [[nodiscard]] const std::map<std::string, std::vector<u8>>& notes() const { return notes_; }
    [[nodiscard]] u64 notes_bytes() const { return notes_bytes_; }
    [[nodiscard]] Incarnation mounted() const { return mounted_; }
    // The first unit that was never written, as far as is known.
    [[nodiscard]] u64 frontier() const { return frontier_; }
    // For a device whose metadata is gone: what a scan found.
    void insert_found(const FragmentEntry& entry, const std::vector<UnitExtent>& extents);
    // Forgets segments, notes and what was dropped; keeps the fragments.
    void forget_all_but_fragments();

  private:
    friend class MetadataCodec;
    Result<MetadataChange> apply_put(class Reader& r);
    Result<MetadataChange> apply_remove(Reader& r);
    Result<MetadataChange> apply_quarantine(Reader& r);
    Result<MetadataChange> apply_prepare(Reader& r);
    Result<MetadataChange> apply_grow(Reader& r);
    Result<MetadataChange> apply_fence(Reader& r);
    Result<MetadataChange> apply_seal(Reader& r);
    Result<MetadataChange> apply_drop(Reader& r);
    Result<MetadataChange> apply_adopt(Reader& r);
    Result<MetadataChange> apply_note(Reader& r);
    // The segment, or null.
    SegmentEntry* find(const SegmentId& id);
    void account_segment(const SegmentEntry& entry, bool add);

    FragmentIndex fragments_;
    std::map<SegmentId, SegmentEntry> segments_;
    DroppedSegments dropped_;
    std::map<std::string, std::vector<u8>> notes_;
    u64 notes_bytes_ = 0;
    u64 scattered_bytes_ = 0;  // of fragments' extent lists
    u64 segment_bytes_ = 0;
    Incarnation mounted_;
    u64 frontier_ = 0;
};

}  // namespace corelet
