#include "device/superblock.h"

#include <xxhash.h>

#include "base/codec.h"

namespace corelet {

namespace {
constexpr std::string_view k_magic = "CORELET\x01";
constexpr usize k_checksum_at = k_block_bytes - 8;
constexpr u32 k_flag_witness = 1, k_flag_failed = 2, k_flag_forgotten = 4;

u32 flags_of(const Superblock& s) {
    return (s.layout.witness ? k_flag_witness : 0) | (s.failed ? k_flag_failed : 0) |
           (s.forgotten ? k_flag_forgotten : 0);
}
}  // namespace

bool operator==(const Superblock& a, const Superblock& b) {
    return encode_superblock(a, 0).bytes().size() == k_block_bytes &&
           std::ranges::equal(encode_superblock(a, 0).bytes(), encode_superblock(b, 0).bytes());
}

Buffer encode_superblock(const Superblock& s, u32 copy) {
    CORELET_ASSERT(s.location.size() <= k_location_bytes_max && s.forgotten_reason.size() <= k_reason_bytes_max);
    Writer w;
    w.put_raw(as_bytes(k_magic)).put(s.version).put(flags_of(s)).put(copy).put(u32{0});
    w.put(s.generation).put(s.mesh).put(s.identity).put(s.incarnation).put(s.boot_nonce).put(s.format_key);
    w.put(s.layout.device_bytes).put(s.layout.metadata_half_bytes).put(s.layout.consensus_half_bytes);
    w.put_text(s.location).put_text(s.forgotten_reason);
    CORELET_ASSERT(w.size() <= k_checksum_at);
    Buffer block = Buffer::zeroed(k_block_bytes);
    std::memcpy(block.mutable_data(), w.data().data(), w.size());
    u64 const checksum = XXH3_64bits(block.data(), k_checksum_at);
    std::memcpy(block.mutable_data() + k_checksum_at, &checksum, sizeof checksum);
    return block;
}

Result<Superblock> decode_superblock(Bytes block, u32 copy) {
    CORELET_ASSERT(block.size() == k_block_bytes);
    if (as_text(block.first(k_magic.size())) != k_magic)
        return fail(Code::kNotFound, "no Corelet superblock: the device is not formatted");
    u64 checksum = 0;
    std::memcpy(&checksum, block.data() + k_checksum_at, sizeof checksum);
    if (checksum != XXH3_64bits(block.data(), k_checksum_at))
        return fail(Code::kCorrupt, "superblock checksum is wrong");
    Reader r(block.subspan(k_magic.size(), k_checksum_at - k_magic.size()));
    Superblock s;
    s.version = r.get<u32>();
    if (s.version != k_device_version)
        return fail(Code::kUnsupported,
                    "the device has format version " + std::to_string(s.version) + "; this program knows version " +
                        std::to_string(k_device_version),
                    s.version);
    u32 const flags = r.get<u32>();
    s.layout.witness = flags & k_flag_witness;
    s.failed = flags & k_flag_failed;
    s.forgotten = flags & k_flag_forgotten;
    bool const right_place = r.get<u32>() == copy;
    static_cast<void>(r.get<u32>());
    s.generation = r.get<u64>();
    s.mesh = r.get<MeshId>();
    s.identity = r.get<CoreletId>();
    s.incarnation = r.get<Incarnation>();
    s.boot_nonce = r.get<u64>();
    s.format_key = r.get<u64>();
    s.layout.device_bytes = r.get<u64>();
    s.layout.metadata_half_bytes = r.get<u64>();
    s.layout.consensus_half_bytes = r.get<u64>();
    s.location = r.get_text();
    s.forgotten_reason = r.get_text();
    if (r.failed() || !right_place || !is_sound(s.layout) || s.location.size() > k_location_bytes_max ||
        s.forgotten_reason.size() > k_reason_bytes_max)
        return fail(Code::kCorrupt,
                    right_place ? "superblock fields make no sense" : "superblock of another place");
    return s;
}

Result<SuperblockChoice> choose_superblock(Result<Superblock> first, Result<Superblock> last) {
    if (first && last) {
        bool const same_format = first->format_key == last->format_key;
        // Two formats' copies: formatting wrote the last one first and was cut off before it wrote the first.
        u32 const copy = first->generation >= last->generation || !same_format ? 0 : 1;
        bool const good = same_format && first->generation == last->generation;
        return SuperblockChoice{copy == 0 ? *std::move(first) : *std::move(last), copy, good};
    }
    if (first) return SuperblockChoice{*std::move(first), 0, false};
    if (last) return SuperblockChoice{*std::move(last), 1, false};
    // The most telling of the two errors: newer version, then damage, then absence.
    Error a = std::move(first).error(), b = std::move(last).error();
    for (Code const code : {Code::kIo, Code::kUnsupported, Code::kCorrupt})
        for (Error* error : {&a, &b})
            if (error->code == code)
                return std::unexpected(with_context(std::move(*error), "both superblocks fail"));
    return std::unexpected(std::move(a));
}

}  // namespace corelet
