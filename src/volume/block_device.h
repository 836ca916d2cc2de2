// What a block gateway (NBD now, iSCSI and NVMe/TCP later) sees of a volume: a linear array of bytes, written and
// read in units of 512 B, best in 4 KiB.
//
// All calls may run beside each other. A write or trim that overlaps another in flight may take effect in either
// order; a read sees every write that was answered before the read began. Ranges are within size_bytes() and
// multiples of 512 B: gateways check (the implementation asserts). Any call may be dropped; a dropped write may or
// may not take effect.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "rt/task.h"

namespace corelet {

struct BlockStatusExtent {
    u64 length_bytes = 0;
    bool is_hole = false;  // no space allocated
    bool reads_zero = false;
};

class BlockDevice {
  public:
    virtual ~BlockDevice() = default;
    [[nodiscard]] virtual u64 size_bytes() const = 0;
    // True when acknowledged writes may still be lost until a flush (write policies other than sync).
    [[nodiscard]] virtual bool has_volatile_cache() const = 0;

    // Errors: kCorrupt or kLost (more lost than the redundancy survives), kShutdown / kFenced (served elsewhere
    // now: the gateway closes its clients), kIo. Waits, rather than failing, while the pool is below its minimum of
    // copies.
    [[nodiscard]] virtual Task<Result<BufferChain>> read(u64 offset, u32 length) = 0;
    // Durable by the volume's write policy on return; with `fua` on all replicas. kNoSpace when the pool is full.
    [[nodiscard]] virtual Task<Result<void>> write(u64 offset, BufferChain data, bool fua) = 0;
    [[nodiscard]] virtual Task<Result<void>> flush() = 0;
    [[nodiscard]] virtual Task<Result<void>> trim(u64 offset, u64 length, bool fua) = 0;
    // Reads as zeros afterwards. `may_trim`: the range may become a hole.
    [[nodiscard]] virtual Task<Result<void>> write_zeroes(u64 offset, u64 length, bool may_trim, bool fua) = 0;
    // Consecutive extents from `offset`, at least one, together at most `length` bytes.
    [[nodiscard]] virtual Task<Result<std::vector<BlockStatusExtent>>> block_status(u64 offset, u64 length) = 0;
};

}  // namespace corelet
