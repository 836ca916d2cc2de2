// Contents of 4 KiB blocks in memory, by the place that names them for ever, within a bound. Second chance (CLOCK).
//
// Holds what was written lately, so that what is not packed yet is read and packed from memory, and what was read.
// Contents are copied in and out: a small read never keeps a large buffer alive, and the bound is exact.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace corelet {

class BlockCache {
  public:
    // Memory is taken in steps of 1 MiB, as it is needed. Zero bytes: nothing is ever kept.
    explicit BlockCache(u64 bytes);

    // Does nothing if it is there already. `hot`: has its second chance from the start.
    void insert(u64 container, u32 block, Bytes contents, bool hot);
    // Copies the block to `out` (4 KiB), or says that it is not there.
    [[nodiscard]] bool copy(u64 container, u32 block, u8* out);
    [[nodiscard]] bool contains(u64 container, u32 block) const { return find(container, block) != k_nil; }
    void erase(u64 container, u32 block);
    // The same contents have another name now.
    void rename(u64 container, u32 block, u64 new_container, u32 new_block);

    [[nodiscard]] u64 hits() const { return hits_; }
    [[nodiscard]] u64 misses() const { return misses_; }
    [[nodiscard]] u64 bytes_in_use() const { return used_ * k_block_bytes; }

  private:
    static constexpr u32 k_nil = UINT32_MAX;
    static constexpr u32 k_slab_frames = 256;
    struct Frame {
        u64 container = 0;
        u32 block = 0;
        u32 next = k_nil;  // in its hash chain, or of the free ones
        bool used = false;
        bool referenced = false;
    };
    [[nodiscard]] u32 bucket(u64 container, u32 block) const;
    [[nodiscard]] u32 find(u64 container, u32 block) const;
    [[nodiscard]] u32& kept_of(u64 container);
    [[nodiscard]] u32 take_frame();
    void link(u32 frame);
    void unlink(u32 frame);
    [[nodiscard]] u8* bytes_of(u32 frame) {
        return slabs_[frame / k_slab_frames].get() + (frame % k_slab_frames) * k_block_bytes;
    }

    u32 frames_max_;
    std::vector<Frame> frames_;
    std::vector<u32> buckets_;
    // Blocks kept of the containers of each hash: most lookups of what was never kept, as of a long run, end here.
    std::array<u32, 4096> kept_{};
    std::vector<std::unique_ptr<u8[]>> slabs_;
    u32 free_ = k_nil;
    u32 hand_ = 0;
    u64 used_ = 0;
    u64 hits_ = 0;
    u64 misses_ = 0;
};

}  // namespace corelet
