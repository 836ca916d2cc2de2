#include "volume/log_entry.h"

#include "base/codec.h"

namespace corelet {

namespace {

constexpr u8 k_entry_version = 1;
enum class Kind : u8 {
    kWrite = 1,
    kClear = 2,
    kPacked = 3,
    kCondemned = 4,
    kAdopted = 5,
    kResized = 6,
    kPlaced = 7
};

void begin(Writer& out, Kind kind) {
    out.put(k_entry_version).put(static_cast<u8>(kind));
}

void put_extents(Writer& out, const std::vector<Extent>& extents) {
    CORELET_ASSERT(extents.size() <= k_extents_max);
    out.put(static_cast<u16>(extents.size()));
    for (const Extent& extent : extents) out.put(extent.lba).put(extent.count);
}

void encode(Writer& out, const volume_entry::Write& write) {
    begin(out, Kind::kWrite);
    out.put(write.ticket);
    put_extents(out, write.extents);
}
void encode(Writer& out, const volume_entry::Clear& clear) {
    begin(out, Kind::kClear);
    out.put(clear.ticket);
    out.put(static_cast<u8>(clear.keep_allocated ? 1 : 0));
    put_extents(out, clear.extents);
}
void encode(Writer& out, const volume_entry::Packed& packed) {
    begin(out, Kind::kPacked);
    out.put(packed.chunk).put(packed.chunk_blocks);
}
void encode(Writer& out, const volume_entry::Condemned& condemned) {
    CORELET_ASSERT(condemned.containers.size() <= k_condemned_max);
    begin(out, Kind::kCondemned);
    out.put(static_cast<u32>(condemned.containers.size()));
    for (u64 const container : condemned.containers) out.put(container);
}
void encode(Writer& out, const volume_entry::Adopted& adopted) {
    begin(out, Kind::kAdopted);
    out.put(adopted.segment).put(adopted.segment_blocks).put(adopted.index_chunk).put(adopted.index_blocks);
}
void encode(Writer& out, const volume_entry::Resized& resized) {
    begin(out, Kind::kResized);
    out.put(resized.size_bytes);
}
void encode(Writer& out, const volume_entry::Placed& placed) {
    begin(out, Kind::kPlaced);
    out.put(placed.ticket).put(placed.chunk).put(placed.chunk_blocks).put(static_cast<u8>(placed.given_up ? 1 : 0));
}

std::unexpected<Error> malformed(const char* what) {
    return fail(Code::kCorrupt, std::string("volume log entry: ") + what);
}

bool get_extents(Reader& in, std::vector<Extent>& out) {
    u16 const count = in.get<u16>();
    if (count > k_extents_max || in.remaining() < usize{count} * 12) return false;
    out.reserve(count);
    for (u16 i = 0; i < count; ++i) {
        u64 const lba = in.get<u64>();
        u32 const blocks = in.get<u32>();
        u64 const limit = k_volume_bytes_max / k_block_bytes;
        if (blocks == 0 || lba >= limit || blocks > limit - lba) return false;
        out.push_back({lba, blocks});
    }
    return true;
}

Result<VolumeEntry> decode_body(Kind kind, Reader& in) {
    switch (kind) {
        case Kind::kWrite: {
            volume_entry::Write write;
            write.ticket = in.get<u64>();
            if (!get_extents(in, write.extents)) return malformed("bad run");
            return write;
        }
        case Kind::kClear: {
            volume_entry::Clear clear;
            clear.ticket = in.get<u64>();
            clear.keep_allocated = in.get<u8>() != 0;
            if (!get_extents(in, clear.extents)) return malformed("bad run");
            return clear;
        }
        case Kind::kPacked: {
            volume_entry::Packed packed;
            packed.chunk = in.get<u64>();
            packed.chunk_blocks = in.get<u32>();
            return packed;
        }
        case Kind::kCondemned: {
            u32 const count = in.get<u32>();
            if (count > k_condemned_max || in.remaining() < usize{count} * 8)
                return malformed("too many condemned");
            volume_entry::Condemned condemned;
            for (u32 i = 0; i < count; ++i) condemned.containers.push_back(in.get<u64>());
            return condemned;
        }
        case Kind::kAdopted: {
            volume_entry::Adopted adopted;
            adopted.segment = in.get<u64>();
            adopted.segment_blocks = in.get<u32>();
            adopted.index_chunk = in.get<u64>();
            adopted.index_blocks = in.get<u32>();
            return adopted;
        }
        case Kind::kResized: {
            volume_entry::Resized resized;
            resized.size_bytes = in.get<u64>();
            if (resized.size_bytes > k_volume_bytes_max) return malformed("size beyond the largest volume");
            return resized;
        }
        case Kind::kPlaced: {
            volume_entry::Placed placed;
            placed.ticket = in.get<u64>();
            placed.chunk = in.get<u64>();
            placed.chunk_blocks = in.get<u32>();
            placed.given_up = in.get<u8>() != 0;
            return placed;
        }
    }
    return fail(Code::kUnsupported, "volume log entry of a kind that this version does not know",
                static_cast<u64>(kind));
}

}  // namespace

std::vector<u8> encode_volume_entry(const VolumeEntry& entry) {
    Writer out;
    std::visit([&](const auto& kind) { encode(out, kind); }, entry);
    CORELET_ASSERT(out.size() <= k_entry_meta_bytes_max);
    return std::move(out.mutable_data());
}

Result<VolumeEntry> decode_volume_entry(Bytes meta) {
    Reader in(meta);
    u8 const version = in.get<u8>();
    Kind const kind = static_cast<Kind>(in.get<u8>());
    if (in.failed()) return malformed("too short");
    if (version != k_entry_version) return fail(Code::kUnsupported, "volume log entry of another version", version);
    auto entry = decode_body(kind, in);
    if (entry && in.failed()) return malformed("too short");
    return entry;
}

}  // namespace corelet
