#include "device/metadata.h"

#include "base/codec.h"
#include "device/metadata_records.h"

namespace corelet {

namespace {
FragmentId get_fragment_id(Reader& r) {
    ChunkId const chunk = r.get_chunk_id();
    return {chunk, r.get<u8>()};
}
std::unexpected<Error> nonsense(const char* what) {
    return fail(Code::kCorrupt, std::string("metadata record: ") + what);
}

u64 units_of(const std::vector<UnitExtent>& extents) {
    u64 units = 0;
    for (const UnitExtent& extent : extents) units += extent.units;
    return units;
}

// The extents' first `keep` units stay; the rest is cut off and returned.
std::vector<UnitExtent> cut_extents(std::vector<UnitExtent>& extents, u64 keep) {
    std::vector<UnitExtent> kept, cut;
    for (const UnitExtent& extent : extents) {
        u32 const part = static_cast<u32>(std::min<u64>(extent.units, keep));
        if (part > 0) kept.push_back({extent.start, part});
        if (part < extent.units) cut.push_back({extent.start + part, extent.units - part});
        keep -= part;
    }
    extents = std::move(kept);
    return cut;
}
bool fits_shape(const FragmentEntry& entry, const std::vector<UnitExtent>& extents) {
    if (entry.blocks == 0 || extents.empty()) return false;
    return fragment_shape(entry.blocks, extents.size(), entry.is(FragmentEntry::k_adopted)).total_units ==
           units_of(extents);
}
}  // namespace

u64 SegmentEntry::units() const {
    return units_of(extents);
}

bool SegmentEntry::is_sound() const {
    bool const placed = !extents.empty() && std::ranges::all_of(extents, [](const UnitExtent& extent) {
        return extent.units > 0 && extent.end() <= UINT32_MAX;
    });
    return placed && end <= units() * k_unit_bytes;
}

SegmentInfo SegmentEntry::info() const {
    SegmentInfo info;
    info.id = id;
    info.salt = salt;
    info.opened_epoch = opened_epoch;
    info.epoch = epoch;
    info.owner = owner;
    info.sealed = sealed;
    info.end = end;
    info.capacity_bytes = capacity_bytes();
    info.packed_reservation_bytes = reserved_units * k_unit_bytes;
    info.opaque = opaque;
    return info;
}

void DroppedSegments::add(const SegmentId& id) {
    names_.push_back(id);
    ++known_[id];
    if (names_.size() <= k_names_max) return;
    SegmentId const oldest = names_.front();
    names_.pop_front();
    if (--known_[oldest] == 0) known_.erase(oldest);
    Floor& floor = floors_[oldest.space];
    floor = {std::max(floor.seq, oldest.seq), next_order_++};
    if (floors_.size() <= k_spaces_max) return;
    auto const stalest = std::ranges::min_element(floors_, {}, [](const auto& item) { return item.second.order; });
    floors_.erase(stalest);
}

bool DroppedSegments::has(const SegmentId& id) const {
    if (known_.contains(id)) return true;
    auto const floor = floors_.find(id.space);
    return floor != floors_.end() && id.seq <= floor->second.seq;
}

void DroppedSegments::restore(std::deque<SegmentId> names, std::map<SpaceId, Floor> floors, u64 next_order) {
    names_ = std::move(names);
    floors_ = std::move(floors);
    next_order_ = next_order;
    known_.clear();
    for (const SegmentId& id : names_) ++known_[id];
}

const SegmentEntry* Metadata::segment(const SegmentId& id) const {
    auto const at = segments_.find(id);
    return at == segments_.end() ? nullptr : &at->second;
}
SegmentEntry* Metadata::find(const SegmentId& id) {
    auto const at = segments_.find(id);
    return at == segments_.end() ? nullptr : &at->second;
}

void Metadata::account_segment(const SegmentEntry& entry, bool add) {
    u64 const bytes = records::k_segment_entry_bytes + 8 + entry.opaque.size() + 8 * entry.extents.size();
    segment_bytes_ = add ? segment_bytes_ + bytes : segment_bytes_ - bytes;
}

Result<MetadataChange> Metadata::apply(Bytes record) {
    Reader r(record);
    auto const type = static_cast<records::Type>(r.get<u8>());
    switch (type) {
        case records::Type::kMount:
            mounted_ = std::max(mounted_, r.get<Incarnation>());
            return MetadataChange{};
        case records::Type::kPut:
            return apply_put(r);
        case records::Type::kRemove:
            return apply_remove(r);
        case records::Type::kQuarantine:
            return apply_quarantine(r);
        case records::Type::kPrepare:
            return apply_prepare(r);
        case records::Type::kGrow:
            return apply_grow(r);
        case records::Type::kFence:
            return apply_fence(r);
        case records::Type::kSeal:
            return apply_seal(r);
        case records::Type::kDrop:
            return apply_drop(r);
        case records::Type::kAdopt:
            return apply_adopt(r);
        case records::Type::kNote:
            return apply_note(r);
        case records::Type::kFrontier:
            frontier_ = std::max(frontier_, r.get<u64>());
            return MetadataChange{};
    }
    return fail(Code::kUnsupported, "metadata record of an unknown type");
}

Result<MetadataChange> Metadata::apply_put(Reader& r) {
    FragmentEntry entry = records::get_fragment_entry(r);
    std::vector<UnitExtent> const extents = records::get_extents(r);
    if (!r.complete() || !fits_shape(entry, extents)) return nonsense("put");
    MetadataChange change;
    if (const FragmentEntry* old = fragments_.find(entry.id())) {
        // A repair: the same bytes in a new place.
        change.freed = fragments_.extents_of(*old);
        if (change.freed.size() > 1) scattered_bytes_ -= 8 * change.freed.size();
        entry.flags |= old->flags & FragmentEntry::k_quarantined;
        fragments_.erase(entry.id());
    } else {
        change.came = entry.id();
    }
    insert_found(entry, extents);
    return change;
}

void Metadata::insert_found(const FragmentEntry& entry, const std::vector<UnitExtent>& extents) {
    if (extents.size() > 1) scattered_bytes_ += 8 * extents.size();
    fragments_.insert(entry, extents);
}

Result<MetadataChange> Metadata::apply_remove(Reader& r) {
    FragmentId const id = get_fragment_id(r);
    const FragmentEntry* const entry = fragments_.find(id);
    if (!r.complete() || !entry) return nonsense("remove");
    MetadataChange change{fragments_.extents_of(*entry)};
    if (change.freed.size() > 1) scattered_bytes_ -= 8 * change.freed.size();
    fragments_.erase(id);
    change.went = id;
    return change;
}

Result<MetadataChange> Metadata::apply_quarantine(Reader& r) {
    FragmentId const id = get_fragment_id(r);
    bool const on = r.get<u8>() != 0;
    FragmentEntry* const entry = fragments_.find(id);
    if (!r.complete() || !entry) return nonsense("quarantine");
    u8 const others = entry->flags & static_cast<u8>(~FragmentEntry::k_quarantined);
    entry->flags = on ? others | FragmentEntry::k_quarantined : others;
    return MetadataChange{};
}

Result<MetadataChange> Metadata::apply_prepare(Reader& r) {
    SegmentEntry entry = records::get_segment_entry(r);
    if (!r.complete() || !entry.is_sound() || segments_.contains(entry.id)) return nonsense("prepare");
    account_segment(entry, true);
    segments_.emplace(entry.id, std::move(entry));
    return MetadataChange{};
}

Result<MetadataChange> Metadata::apply_grow(Reader& r) {
    SegmentEntry* const entry = find(r.get_chunk_id());
    std::vector<UnitExtent> const extents = records::get_extents(r);
    if (!r.complete() || !entry || entry->sealed) return nonsense("grow");
    SegmentEntry const before = *entry;
    account_segment(*entry, false);
    for (const UnitExtent& extent : extents) {
        // Neighbours become one.
        if (entry->extents.back().end() == extent.start)
            entry->extents.back().units += extent.units;
        else
            entry->extents.push_back(extent);
    }
    bool const sound = entry->is_sound();
    if (!sound) *entry = before;
    account_segment(*entry, true);
    if (!sound) return nonsense("grow");
    return MetadataChange{};
}

Result<MetadataChange> Metadata::apply_fence(Reader& r) {
    SegmentEntry* const entry = find(r.get_chunk_id());
    Epoch const epoch = r.get<Epoch>();
    CoreletId const owner = r.get<CoreletId>();
    if (!r.complete() || !entry || epoch < entry->epoch) return nonsense("fence");
    entry->epoch = epoch;
    entry->owner = owner;
    return MetadataChange{};
}

Result<MetadataChange> Metadata::apply_seal(Reader& r) {
    SegmentEntry* const entry = find(r.get_chunk_id());
    u64 const end = r.get<u64>();
    if (!r.complete() || !entry || entry->sealed || end > entry->capacity_bytes()) return nonsense("seal");
    account_segment(*entry, false);
    entry->sealed = true;
    entry->end = end;
    // An empty segment keeps one unit, so that it stays a place.
    u64 const keep = std::max<u64>(1, div_ceil(end, k_unit_bytes));
    MetadataChange change{cut_extents(entry->extents, keep)};
    account_segment(*entry, true);
    return change;
}

Result<MetadataChange> Metadata::apply_drop(Reader& r) {
    SegmentEntry* const entry = find(r.get_chunk_id());
    if (!r.complete() || !entry) return nonsense("drop");
    MetadataChange change{entry->extents};
    account_segment(*entry, false);
    dropped_.add(entry->id);
    segments_.erase(SegmentId(entry->id));
    return change;
}

Result<MetadataChange> Metadata::apply_adopt(Reader& r) {
    SegmentEntry* const segment = find(r.get_chunk_id());
    FragmentEntry const entry = records::get_fragment_entry(r);
    std::vector<UnitExtent> const extents = records::get_extents(r);
    if (!r.complete() || !segment || !segment->sealed || fragments_.find(entry.id()) || !fits_shape(entry, extents))
        return nonsense("adopt");
    account_segment(*segment, false);
    dropped_.add(segment->id);
    segments_.erase(SegmentId(segment->id));
    insert_found(entry, extents);
    MetadataChange change;
    change.came = entry.id();
    return change;
}

Result<MetadataChange> Metadata::apply_note(Reader& r) {
    std::string key = r.get_text();
    Bytes const value = r.get_bytes();
    if (!r.complete()) return nonsense("note");
    if (auto const old = notes_.find(key); old != notes_.end()) {
        notes_bytes_ -= old->first.size() + old->second.size() + 8;
        notes_.erase(old);
    }
    if (value.empty()) return MetadataChange{};
    notes_bytes_ += key.size() + value.size() + 8;
    notes_.emplace(std::move(key), std::vector<u8>(value.begin(), value.end()));
    return MetadataChange{};
}

void Metadata::forget_all_but_fragments() {
    segments_.clear();
    segment_bytes_ = 0;
    dropped_ = {};
    notes_.clear();
    notes_bytes_ = 0;
    mounted_ = {};
}

}  // namespace corelet
