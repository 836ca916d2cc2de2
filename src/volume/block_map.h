// A volume's block map: the tree of pages (map_format.h) over the page cache and the map chunks of the last
// checkpoint.
//
// Pages come in on demand, each once however many wait for it. Reading and changing entries is done on pages that
// are held, without an await, so what reads and changes together is atomic.
#pragma once

#include "rt/scope.h"
#include "volume/chunk_io.h"
#include "volume/page_cache.h"

namespace corelet {

class BlockMap {
  public:
    // `cache_bytes`: of pages in memory, everything included.
    BlockMap(Executor& executor, ChunkIo& chunks, u64 cache_bytes);

    // The tree of a checkpoint: by index, the pages of level 2.
    void set_root(std::vector<PageRef> root) { root_ = std::move(root); }
    [[nodiscard]] const std::vector<PageRef>& root() const { return root_; }

    // Holds a page. With `create` a page that is nowhere is made, empty; else the pin is empty then: all below it
    // is holes. Errors: kCorrupt, kLost (a page of the map cannot be read), kShutdown.
    [[nodiscard]] Task<Result<PagePin>> pin(PageKey key, bool create);
    [[nodiscard]] Task<Result<PagePin>> pin_leaf(u64 leaf, bool create) { return pin({0, leaf}, create); }
    // All of them, several loads at a time, in the order given; empty pins for what is nowhere, unless `create`.
    [[nodiscard]] Task<Result<std::vector<PagePin>>> pin_leaves(std::vector<u64> leaves, bool create);

    // Of a leaf that somebody holds.
    [[nodiscard]] BlockEntry entry(u64 lba);
    // Puts a new entry, returns the old one.
    BlockEntry exchange(u64 lba, const BlockEntry& entry);
    [[nodiscard]] bool is_in_memory(u64 leaf) {
        PageCache::Node* const node = cache_.find({0, leaf});
        return node && node->state == PageCache::State::kReady;
    }
    // The first leaf in [leaf, limit) that is not all holes as far as the tree and the changed pages tell, or
    // `limit`.
    [[nodiscard]] Task<Result<u64>> next_present(u64 leaf, u64 limit);

    [[nodiscard]] PageCache& cache() { return cache_; }
    [[nodiscard]] DirtyBudget& budget() { return budget_; }
    [[nodiscard]] u64 pages_loaded() const { return pages_loaded_; }

  private:
    [[nodiscard]] Task<void> load(PagePin held, PageRef ref);
    [[nodiscard]] Task<Result<std::shared_ptr<PageData>>> fetch(PageKey key, PageRef ref);
    [[nodiscard]] Task<void> pin_into(PageKey key, bool create, Result<PagePin>* out);

    ChunkIo& chunks_;
    PageCache cache_;
    DirtyBudget budget_;
    std::vector<PageRef> root_;
    u64 pages_loaded_ = 0;
    Scope loads_;
};

}  // namespace corelet
