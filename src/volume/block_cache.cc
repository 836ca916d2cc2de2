#include "volume/block_cache.h"

#include <bit>
#include <cstring>

#include "base/hash.h"

namespace corelet {

BlockCache::BlockCache(u64 bytes)
    : frames_max_(static_cast<u32>(bytes / k_block_bytes / k_slab_frames * k_slab_frames)) {
    buckets_.assign(std::bit_ceil(std::max<usize>(1, frames_max_)), k_nil);
}

u32 BlockCache::bucket(u64 container, u32 block) const {
    return static_cast<u32>(mix64(container ^ (u64{block} << 36)) & (buckets_.size() - 1));
}

u32& BlockCache::kept_of(u64 container) {
    return kept_[mix64(container) % kept_.size()];
}

u32 BlockCache::find(u64 container, u32 block) const {
    if (kept_[mix64(container) % kept_.size()] == 0) return k_nil;
    u32 at = buckets_[bucket(container, block)];
    while (at != k_nil && (frames_[at].container != container || frames_[at].block != block)) at = frames_[at].next;
    return at;
}

void BlockCache::link(u32 frame) {
    u32& head = buckets_[bucket(frames_[frame].container, frames_[frame].block)];
    frames_[frame].next = head;
    frames_[frame].used = true;
    head = frame;
    ++kept_of(frames_[frame].container);
    ++used_;
}

void BlockCache::unlink(u32 frame) {
    u32* at = &buckets_[bucket(frames_[frame].container, frames_[frame].block)];
    while (*at != frame) at = &frames_[*at].next;
    *at = frames_[frame].next;
    frames_[frame].used = false;
    --kept_of(frames_[frame].container);
    --used_;
}

u32 BlockCache::take_frame() {
    if (free_ == k_nil && frames_.size() < frames_max_) {
        slabs_.push_back(std::make_unique_for_overwrite<u8[]>(k_slab_frames * k_block_bytes));
        u32 const first = static_cast<u32>(frames_.size());
        frames_.resize(first + k_slab_frames);
        for (u32 i = k_slab_frames; i-- > 0;) {
            frames_[first + i].next = free_;
            free_ = first + i;
        }
    }
    if (free_ != k_nil) {
        u32 const frame = free_;
        free_ = frames_[frame].next;
        return frame;
    }
    while (std::exchange(frames_[hand_].referenced, false)) hand_ = (hand_ + 1) % frames_max_;
    u32 const frame = hand_;
    hand_ = (hand_ + 1) % frames_max_;
    unlink(frame);
    return frame;
}

void BlockCache::insert(u64 container, u32 block, Bytes contents, bool hot) {
    CORELET_ASSERT(contents.size() == k_block_bytes);
    if (frames_max_ == 0 || contains(container, block)) return;
    u32 const frame = take_frame();
    frames_[frame].container = container;
    frames_[frame].block = block;
    frames_[frame].referenced = hot;
    std::memcpy(bytes_of(frame), contents.data(), k_block_bytes);
    link(frame);
}

bool BlockCache::copy(u64 container, u32 block, u8* out) {
    u32 const frame = frames_max_ == 0 ? k_nil : find(container, block);
    if (frame == k_nil) {
        ++misses_;
        return false;
    }
    ++hits_;
    frames_[frame].referenced = true;
    std::memcpy(out, bytes_of(frame), k_block_bytes);
    return true;
}

void BlockCache::erase(u64 container, u32 block) {
    u32 const frame = find(container, block);
    if (frame == k_nil) return;
    unlink(frame);
    frames_[frame].next = free_;
    free_ = frame;
}

void BlockCache::rename(u64 container, u32 block, u64 new_container, u32 new_block) {
    u32 const frame = find(container, block);
    if (frame == k_nil) return;
    erase(new_container, new_block);
    unlink(frame);
    frames_[frame].container = new_container;
    frames_[frame].block = new_block;
    link(frame);
}

}  // namespace corelet
