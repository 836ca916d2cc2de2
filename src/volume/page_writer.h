// Puts a known number of 16 KiB pages, one after the other, into as few map chunks as they need.
#pragma once

#include "volume/checkpoint_format.h"
#include "volume/volume_core.h"

namespace corelet {

class PageWriter {
  public:
    // Names the chunks: `pages` are coming, no more and no less.
    PageWriter(VolumeCore& core, usize pages);

    [[nodiscard]] Task<Result<PageRef>> add(PageKind kind, u64 index, std::shared_ptr<const PageData> page);

    // Waits until all of it is durable: then the references are good.
    [[nodiscard]] Task<Result<void>> finish();
    [[nodiscard]] bool is_complete() const { return added_ == pages_; }

    struct NewChunk {
        u64 seq = 0;
        u32 blocks = 0;
        [[nodiscard]] u32 live() const { return blocks - k_map_index_blocks; }
    };
    [[nodiscard]] const std::vector<NewChunk>& chunks() const { return chunks_; }
    [[nodiscard]] static usize pages_per_chunk(const VolumeCore& core);

  private:
    [[nodiscard]] Task<Result<void>> put_current();
    [[nodiscard]] Task<void> put(u64 seq, BufferChain data, std::vector<u32> crcs, Permit slot);
    VolumeCore& core_;
    usize per_chunk_;
    usize pages_;
    usize added_ = 0;
    std::vector<NewChunk> chunks_;
    Buffer current_;  // its pages, without the index
    std::vector<MapIndexEntry> index_;
    std::vector<u32> crcs_;
    std::optional<Error> failed_;
    Semaphore slots_;
    Scope puts_;
};

}  // namespace corelet
