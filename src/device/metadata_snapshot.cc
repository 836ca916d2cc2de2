// The metadata as one piece of bytes and back; docs/format/device.md has the layout.
#include "base/codec.h"
#include "device/metadata.h"
#include "device/metadata_records.h"

namespace corelet {

namespace {
constexpr u32 k_snapshot_magic = 0x31534D43;  // "CMS1"
constexpr u64 k_fixed_bytes = 4 + 4 + 8 + 8 + 8 + 8 + 8 + 8 + 8 + 8;
}  // namespace

u64 Metadata::encoded_bytes() const {
    return k_fixed_bytes + fragments_.size() * (records::k_fragment_entry_bytes + 4) + scattered_bytes_ +
           segment_bytes_ + dropped_.names().size() * 16 + dropped_.floors().size() * 24 + notes_bytes_;
}

std::vector<u8> Metadata::encode() const {
    Writer w;
    w.mutable_data().reserve(encoded_bytes());
    w.put(k_snapshot_magic).put(u32{1}).put(mounted_).put(frontier_);
    w.put(fragments_.size());
    fragments_.for_each_after(std::nullopt, [&](const FragmentEntry& entry) {
        records::put_fragment_entry(w, entry);
        if (entry.is(FragmentEntry::k_scattered)) records::put_extents(w, fragments_.extents_of(entry));
        return true;
    });
    w.put(u64{segments_.size()});
    for (const auto& [id, entry] : segments_) records::put_segment_entry(w, entry);
    w.put(u64{dropped_.names().size()});
    for (const SegmentId& id : dropped_.names()) w.put(id);
    w.put(dropped_.next_order()).put(u64{dropped_.floors().size()});
    for (const auto& [space, floor] : dropped_.floors()) w.put(space).put(floor.seq).put(floor.order);
    w.put(u64{notes_.size()});
    for (const auto& [key, value] : notes_) w.put_text(key).put_bytes(value);
    CORELET_ASSERT(w.size() <= encoded_bytes());
    return std::move(w.mutable_data());
}

Result<Metadata> Metadata::decode(Bytes state) {
    Metadata out;
    if (state.empty()) return out;
    Reader r(state);
    if (r.get<u32>() != k_snapshot_magic) return fail(Code::kCorrupt, "metadata snapshot: no such thing");
    if (r.get<u32>() != 1) return fail(Code::kUnsupported, "metadata snapshot of an unknown version");
    out.mounted_ = r.get<Incarnation>();
    out.frontier_ = r.get<u64>();
    for (u64 n = r.get<u64>(); n > 0 && !r.failed(); --n) {
        FragmentEntry const entry = records::get_fragment_entry(r);
        std::vector<UnitExtent> extents;
        if (entry.is(FragmentEntry::k_scattered))
            extents = records::get_extents(r);
        else if (entry.blocks > 0)
            extents = {{entry.first_unit, static_cast<u32>(fragment_units(entry.blocks))}};
        if (r.failed() || extents.empty() || out.fragments_.find(entry.id()))
            return fail(Code::kCorrupt, "metadata snapshot: fragments make no sense");
        out.insert_found(entry, extents);
    }
    for (u64 n = r.get<u64>(); n > 0 && !r.failed(); --n) {
        SegmentEntry entry = records::get_segment_entry(r);
        if (r.failed() || !entry.is_sound() || out.segments_.contains(entry.id))
            return fail(Code::kCorrupt, "metadata snapshot: segments make no sense");
        out.account_segment(entry, true);
        out.segments_.emplace(entry.id, std::move(entry));
    }
    std::deque<SegmentId> names;
    for (u64 n = r.get<u64>(); n > 0 && !r.failed(); --n) names.push_back(r.get_chunk_id());
    u64 const next_order = r.get<u64>();
    std::map<SpaceId, DroppedSegments::Floor> floors;
    for (u64 n = r.get<u64>(); n > 0 && !r.failed(); --n) {
        SpaceId const space = r.get<SpaceId>();
        u64 const seq = r.get<u64>();
        floors[space] = {seq, r.get<u64>()};
    }
    out.dropped_.restore(std::move(names), std::move(floors), next_order);
    for (u64 n = r.get<u64>(); n > 0 && !r.failed(); --n) {
        std::string key = r.get_text();
        Bytes const value = r.get_bytes();
        out.notes_bytes_ += key.size() + value.size() + 8;
        out.notes_.emplace(std::move(key), std::vector<u8>(value.begin(), value.end()));
    }
    if (!r.complete()) return fail(Code::kCorrupt, "metadata snapshot: too short or too long");
    return out;
}

}  // namespace corelet
