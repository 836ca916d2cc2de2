// What the chunk store on one device is asked and answers with. Plain values.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/types.h"

namespace corelet {

// Whose work an operation is: what goes first when the device is busy.
enum class IoClass : u8 { kClient = 0, kHeal = 1, kScrub = 2 };
inline constexpr usize k_io_classes = 3;

// Whose space an allocation takes. Clients are refused while the system reserve is all that is left. Of that each
// class may take what leaves enough for those behind it, on which it waits: packing and healing need records of the
// log, and what those no longer refer to is freed by a checkpoint.
enum class SpaceClass : u8 {
    kClient = 0,
    kPacking = 1,     // and healing: half of the reserve
    kLog = 2,         // records of trims and of the system, recovery: three quarters
    kCheckpoint = 3,  // all of it
};

// The unit in which the data area is given out.
inline constexpr u64 k_unit_bytes = 64 * k_kib;
inline constexpr u64 k_unit_blocks = k_unit_bytes / k_block_bytes;

// A contiguous piece of the data area, in units from its start.
struct UnitExtent {
    u32 start = 0;
    u32 units = 0;
    [[nodiscard]] u64 end() const { return u64{start} + units; }
    friend auto operator<=>(const UnitExtent&, const UnitExtent&) = default;
};

// What a fragment's header says besides its identity and checksums; kept and given back, never interpreted here.
struct FragmentHeader {
    u8 k = 1;
    u8 m = 0;
    u64 chunk_data_bytes = 0;  // of the whole chunk, before padding
    MapEpoch map_epoch;        // under which it was placed
    std::vector<u8> opaque;    // the upper layers' own: compression, key id, table key of an intent; at most 1 KiB
    friend bool operator==(const FragmentHeader&, const FragmentHeader&) = default;
};
inline constexpr usize k_fragment_opaque_bytes_max = 1024;
inline constexpr u64 k_fragment_bytes_max = 64 * k_mib + k_unit_bytes;

struct FragmentInfo {
    FragmentId id;
    u64 bytes = 0;  // of the fragment, a multiple of 4 KiB
    u8 k = 1;
    u8 m = 0;
    bool quarantined = false;
    bool adopted = false;  // was a log segment
    u32 content_tag = 0;   // CRC32C over the blocks' plain CRCs: equal bytes have equal tags
    friend bool operator==(const FragmentInfo&, const FragmentInfo&) = default;
};

struct FragmentData {
    BufferChain data;
    std::vector<u32> block_crcs;  // plain CRC32C of each 4 KiB block of `data`; empty if not verified here
};

struct ReadOptions {
    // Verified against the stored checksums. Without it the caller verifies against checksums of its own (page
    // entries), and one header read is saved.
    bool verify = true;
    IoClass io = IoClass::kClient;
};

// Order-independent digest of a set of fragments: members with equal sets have equal digests.
struct FragmentDigest {
    u64 count = 0;
    u64 sum = 0;
    friend bool operator==(const FragmentDigest&, const FragmentDigest&) = default;
};

// How a segment is prepared.
struct SegmentSpec {
    u64 salt = 0;
    Epoch epoch;
    CoreletId owner;
    std::vector<u8> opaque;  // the stream's own, at most 4 KiB
    u64 initial_bytes = 1 * k_mib;
    u64 packed_reservation_bytes = 0;  // kept free until the segment is dropped or adopted
    SpaceClass space = SpaceClass::kClient;
};
inline constexpr usize k_segment_opaque_bytes_max = 4096;
inline constexpr u64 k_segment_bytes_max = 64 * k_gib;

struct SegmentInfo {
    SegmentId id;
    u64 salt = 0;
    Epoch opened_epoch;  // as prepared
    Epoch epoch;         // newest stored: above opened_epoch when fenced
    CoreletId owner;     // of `epoch`
    bool sealed = false;
    u64 end = 0;  // if sealed
    u64 capacity_bytes = 0;
    u64 packed_reservation_bytes = 0;
    std::vector<u8> opaque;
    friend bool operator==(const SegmentInfo&, const SegmentInfo&) = default;
};

struct SpaceUse {
    u64 capacity_bytes = 0;        // of the data area
    u64 used_bytes = 0;            // allocated
    u64 reserved_bytes = 0;        // promised to segments and reservations, not yet used
    u64 system_reserve_bytes = 0;  // not for SpaceClass::kClient
    // What a client may still allocate.
    [[nodiscard]] u64 client_free_bytes() const {
        u64 const taken = used_bytes + reserved_bytes + system_reserve_bytes;
        return taken >= capacity_bytes ? 0 : capacity_bytes - taken;
    }
};

}  // namespace corelet
