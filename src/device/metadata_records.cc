#include "device/metadata_records.h"

namespace corelet::records {

namespace {
Writer begin(Type type) {
    Writer w;
    w.put(static_cast<u8>(type));
    return w;
}
Record end(Writer& w) {
    return std::move(w.mutable_data());
}
void put_fragment_id(Writer& w, const FragmentId& id) {
    w.put(id.chunk).put(id.position);
}
}  // namespace

void put_fragment_entry(Writer& w, const FragmentEntry& e) {
    w.put(e.space).put(e.seq).put(e.first_unit).put(e.blocks).put(e.content_tag);
    w.put(e.position).put(e.k).put(e.m).put(e.flags);
}
FragmentEntry get_fragment_entry(Reader& r) {
    FragmentEntry e;
    e.space = r.get<u64>();
    e.seq = r.get<u64>();
    e.first_unit = r.get<u32>();
    e.blocks = r.get<u32>();
    e.content_tag = r.get<u32>();
    e.position = r.get<u8>();
    e.k = r.get<u8>();
    e.m = r.get<u8>();
    e.flags = r.get<u8>();
    return e;
}

void put_extents(Writer& w, const std::vector<UnitExtent>& extents) {
    w.put(static_cast<u32>(extents.size()));
    for (const UnitExtent& extent : extents) w.put(extent.start).put(extent.units);
}
std::vector<UnitExtent> get_extents(Reader& r) {
    std::vector<UnitExtent> extents;
    u32 const count = r.get<u32>();
    for (u32 i = 0; i < count && !r.failed(); ++i) {
        u32 const start = r.get<u32>();
        extents.push_back({start, r.get<u32>()});
    }
    return extents;
}

void put_segment_entry(Writer& w, const SegmentEntry& e) {
    w.put(e.id).put(e.salt).put(e.opened_epoch).put(e.epoch).put(e.owner).put(static_cast<u8>(e.sealed));
    w.put(u8{0}).put(e.end).put(e.reserved_units).put_bytes(e.opaque);
    put_extents(w, e.extents);
}
SegmentEntry get_segment_entry(Reader& r) {
    SegmentEntry e;
    e.id = r.get_chunk_id();
    e.salt = r.get<u64>();
    e.opened_epoch = r.get<Epoch>();
    e.epoch = r.get<Epoch>();
    e.owner = r.get<CoreletId>();
    e.sealed = r.get<u8>() != 0;
    static_cast<void>(r.get<u8>());
    e.end = r.get<u64>();
    e.reserved_units = r.get<u64>();
    Bytes const opaque = r.get_bytes();
    e.opaque.assign(opaque.begin(), opaque.end());
    e.extents = get_extents(r);
    return e;
}

Record mount(Incarnation incarnation, u64 boot_nonce) {
    Writer w = begin(Type::kMount);
    w.put(incarnation).put(boot_nonce);
    return end(w);
}
Record put(const FragmentEntry& entry, const std::vector<UnitExtent>& extents) {
    Writer w = begin(Type::kPut);
    put_fragment_entry(w, entry);
    put_extents(w, extents);
    return end(w);
}
Record remove(const FragmentId& id) {
    Writer w = begin(Type::kRemove);
    put_fragment_id(w, id);
    return end(w);
}
Record quarantine(const FragmentId& id, bool on) {
    Writer w = begin(Type::kQuarantine);
    put_fragment_id(w, id);
    w.put(static_cast<u8>(on));
    return end(w);
}
Record prepare(const SegmentEntry& entry) {
    Writer w = begin(Type::kPrepare);
    put_segment_entry(w, entry);
    return end(w);
}
Record grow(const SegmentId& id, const std::vector<UnitExtent>& extents) {
    Writer w = begin(Type::kGrow);
    w.put(id);
    put_extents(w, extents);
    return end(w);
}
Record fence(const SegmentId& id, Epoch epoch, CoreletId owner) {
    Writer w = begin(Type::kFence);
    w.put(id).put(epoch).put(owner);
    return end(w);
}
Record seal(const SegmentId& id, u64 end_bytes) {
    Writer w = begin(Type::kSeal);
    w.put(id).put(end_bytes);
    return end(w);
}
Record drop(const SegmentId& id) {
    Writer w = begin(Type::kDrop);
    w.put(id);
    return end(w);
}
Record adopt(const SegmentId& segment, const FragmentEntry& entry, const std::vector<UnitExtent>& extents) {
    Writer w = begin(Type::kAdopt);
    w.put(segment);
    put_fragment_entry(w, entry);
    put_extents(w, extents);
    return end(w);
}
Record note(const std::string& key, Bytes value) {
    Writer w = begin(Type::kNote);
    w.put_text(key).put_bytes(value);
    return end(w);
}
Record frontier(u64 unit) {
    Writer w = begin(Type::kFrontier);
    w.put(unit);
    return end(w);
}

}  // namespace corelet::records
