// Pages of the block map in memory, within a bound. No I/O.
//
// A page stays while it is pinned, dirty (changed since the last cut) or frozen (part of the checkpoint that is
// being written); of the others the least recently used goes when room is needed. A frozen page that changes again
// is copied first, so the checkpoint writes the state of its cut while writes go on.
//
// What may become dirty is admitted beforehand (DirtyBudget), so that dirty and frozen pages, the copies and the
// directory pages that a checkpoint rewrites leave an eighth of the bound, and there is always something to evict.
#pragma once

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/intrusive_list.h"
#include "rt/sync.h"
#include "volume/map_format.h"

namespace corelet {

class PageCache {
  public:
    enum class State : u8 { kLoading, kReady, kFailed };
    struct Node : ListNode {
        PageKey key;
        State state = State::kLoading;
        bool dirty = false;
        bool frozen = false;
        u32 pins = 0;
        std::shared_ptr<PageData> data;  // while ready
        Error error;                     // when failed
        Event settled;                   // no longer loading
    };

    explicit PageCache(usize pages_max) : pages_max_(pages_max) { CORELET_ASSERT(pages_max >= 32); }
    ~PageCache();
    PageCache(const PageCache&) = delete;
    PageCache& operator=(const PageCache&) = delete;

    [[nodiscard]] Node* find(PageKey key);
    // A new page, loading or (with `data`) ready; there is none of that key. Pin it before anything else happens.
    Node& insert(PageKey key, std::shared_ptr<PageData> data = nullptr);
    void loaded(Node& node, std::shared_ptr<PageData> data);
    // Waiters see the error; the node goes with its last pin.
    void failed(Node& node, Error error);
    void pin(Node& node);
    void unpin(Node& node);

    // To change the page, which must be ready and pinned: makes it dirty, and a copy if it is frozen.
    [[nodiscard]] PageData& writable(Node& node);

    struct Frozen {
        PageKey key;
        std::shared_ptr<const PageData> data;
    };
    // The cut: all dirty pages, by key. None may be frozen.
    [[nodiscard]] std::vector<Frozen> freeze();
    // The checkpoint is committed. Drop the Frozen before.
    void thaw();

    // The first leaf from `leaf` on that is dirty or frozen, UINT64_MAX if none: pages that the tree may not know
    // yet.
    [[nodiscard]] u64 next_changed(u64 leaf) const;

    // A page may stand for itself and, twice, for its directory page (the old one and the one that the checkpoint
    // makes).
    [[nodiscard]] usize dirty_cost() const;
    [[nodiscard]] usize dirty_pages() const { return dirty_.size(); }
    [[nodiscard]] usize pages() const { return nodes_.size(); }
    [[nodiscard]] usize copies() const { return copies_ + extra_copies_; }
    [[nodiscard]] usize pages_max() const { return pages_max_; }
    // Pages that a checkpoint holds beside those in here.
    void set_extra_copies(usize pages) { extra_copies_ = pages; }

  private:
    void make_room();
    void settle(Node& node);
    usize pages_max_;
    std::unordered_map<u64, std::unique_ptr<Node>> nodes_;  // lookup only
    IntrusiveList<Node> idle_;                              // evictable, least recently used first
    std::map<PageKey, Node*> dirty_;
    std::vector<Node*> frozen_;
    std::map<PageKey, u32> dirty_parents_;
    usize frozen_parents_ = 0;
    usize copies_ = 0;
    usize extra_copies_ = 0;
};

// Keeps a page in memory.
class PagePin {
  public:
    PagePin() = default;
    PagePin(PageCache& cache, PageCache::Node& node) : cache_(&cache), node_(&node) { cache.pin(node); }
    PagePin(PagePin&& other) noexcept
        : cache_(std::exchange(other.cache_, nullptr)), node_(std::exchange(other.node_, nullptr)) {}
    PagePin& operator=(PagePin other) noexcept {
        std::swap(cache_, other.cache_);
        std::swap(node_, other.node_);
        return *this;
    }
    ~PagePin() {
        if (cache_) cache_->unpin(*node_);
    }
    [[nodiscard]] explicit operator bool() const { return node_ != nullptr; }
    [[nodiscard]] PageCache::Node& node() const { return *node_; }
    [[nodiscard]] const PageData& page() const { return *node_->data; }

  private:
    PageCache* cache_ = nullptr;
    PageCache::Node* node_ = nullptr;
};

// Leave to make pages dirty, first come, first served.
class DirtyBudget {
  public:
    // Pages that are dirty or frozen, copies and new directory pages: all of the cache but an eighth, at least 16
    // pages.
    explicit DirtyBudget(const PageCache& cache)
        : cache_(cache), cost_max_(cache.pages_max() - std::max<usize>(16, cache.pages_max() / 8)) {}
    [[nodiscard]] usize cost_max() const { return cost_max_; }
    // Of one request: a quarter, so that others get on beside it.
    [[nodiscard]] usize request_cost_max() const { return std::max<usize>(8, cost_max_ / 4); }
    // Of changing these leaves, given in ascending order.
    [[nodiscard]] static usize cost_of(const std::vector<u64>& leaves);
    // What `leaf` adds to those before it.
    [[nodiscard]] static usize cost_of_next(const std::vector<u64>& leaves, u64 leaf);

    class Grant {
      public:
        Grant() = default;
        Grant(DirtyBudget& budget, usize cost) : budget_(&budget), cost_(cost) {}
        Grant(Grant&& other) noexcept : budget_(std::exchange(other.budget_, nullptr)), cost_(other.cost_) {}
        Grant& operator=(Grant other) noexcept {
            std::swap(budget_, other.budget_);
            std::swap(cost_, other.cost_);
            return *this;
        }
        ~Grant() {
            if (budget_) budget_->give_back(cost_);
        }

      private:
        DirtyBudget* budget_ = nullptr;
        usize cost_ = 0;
    };
    // Waits until a checkpoint has made room. A request beyond request_cost_max() is a programmer's error.
    [[nodiscard]] Task<Grant> admit(usize cost);
    // At once, or an empty grant (that of a cost of 0) and false.
    [[nodiscard]] bool try_admit(usize cost, Grant& grant);
    [[nodiscard]] bool is_waited_for() const { return waiting_ > 0; }
    // Told when somebody begins to wait: a checkpoint is wanted.
    void set_pressed(Notify* pressed) { pressed_ = pressed; }
    void room_made() { room_.notify_all(); }
    // Nobody waits any more: there will be no checkpoint, and nothing is changed.
    void close() {
        closed_ = true;
        room_.notify_all();
    }

  private:
    [[nodiscard]] bool fits(usize cost) const { return reserved_ + cache_.dirty_cost() + cost <= cost_max_; }
    void give_back(usize cost);
    const PageCache& cache_;
    usize cost_max_;
    usize reserved_ = 0;
    usize waiting_ = 0;
    bool closed_ = false;
    Mutex queue_;
    Notify room_;
    Notify* pressed_ = nullptr;
};

}  // namespace corelet
