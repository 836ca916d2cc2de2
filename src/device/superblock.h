// The superblock: what a device is, in two copies, at its first and last block. Each copy is whole by itself; the
// valid one with the highest generation counts. A change is used only when both copies are durable, so that losing
// either one later cannot bring back an older incarnation.
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "device/layout.h"

namespace corelet {

inline constexpr u32 k_device_version = 1;
inline constexpr usize k_location_bytes_max = 256;
inline constexpr usize k_reason_bytes_max = 256;

struct Superblock {
    u32 version = k_device_version;
    bool failed = false;     // a write or flush failed: the device takes no more, ever
    bool forgotten = false;  // promises of this identity are void (protocols 1.3)
    u64 generation = 0;      // of the superblock itself
    MeshId mesh;
    CoreletId identity;
    Incarnation incarnation;
    u64 boot_nonce = 0;
    u64 format_key = 0;  // random, drawn at format; seeds the checksums of all metadata
    Layout layout;
    std::string location;
    std::string forgotten_reason;
    friend bool operator==(const Superblock& a, const Superblock& b);
};

// One block. `copy` is 0 for the first, 1 for the last place.
[[nodiscard]] Buffer encode_superblock(const Superblock& superblock, u32 copy);
// kNotFound: no Corelet superblock. kUnsupported: of a newer version. kCorrupt: one, but damaged or of the other
// place.
[[nodiscard]] Result<Superblock> decode_superblock(Bytes block, u32 copy);

// The better of what was read from the two places (the second is empty where the first did not say where to look).
struct SuperblockChoice {
    Superblock superblock;
    u32 copy = 0;            // which place it was read from
    bool both_good = false;  // else the other place must be written first
};
[[nodiscard]] Result<SuperblockChoice> choose_superblock(Result<Superblock> first, Result<Superblock> last);

}  // namespace corelet
