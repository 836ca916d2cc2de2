// What a volume needs of the rest of the corelet beside its log and its chunks. The node implements it; tests over
// memory.
#pragma once

#include "base/result.h"
#include "rt/task.h"

namespace corelet {

// Pools with k = 1: an ended segment may become a chunk where it lies (protocols 8.8).
class SegmentAdoption {
  public:
    virtual ~SegmentAdoption() = default;
    // True when all replicas of the segment are verified to its committed end and lie in the homes of its slot, so
    // that from now on it can be read, healed and deleted as a chunk of that name. False: pack it. An error: ask
    // again later.
    [[nodiscard]] virtual Task<Result<bool>> verify(SegmentId segment, u64 end_bytes) = 0;
};

// How full the pool is, as far as known here.
class PoolSpace {
  public:
    virtual ~PoolSpace() = default;
    [[nodiscard]] virtual u32 free_permille(PoolId pool) const = 0;
    // False: client writes are refused with kNoSpace, unless cleaning gives room.
    [[nodiscard]] virtual bool may_write(PoolId pool) const = 0;
};

}  // namespace corelet
