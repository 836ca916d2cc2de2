// What a volume has sent into its log and not yet seen acknowledged, in the order of sending; and locks on runs of
// blocks for whoever reads before it writes.
#pragma once

#include <optional>

#include "rt/sync.h"
#include "volume/map_format.h"

namespace corelet {

// A write of 512 bytes reads the newest *sent* version of its block, not the newest acknowledged one
// (protocols 4.4): the one before it may still be on its way, and will be in the log before it.
class InFlight {
  public:
    struct Sent : ListNode {
        u64 ticket = 0;
        std::vector<Extent> extents;
        BufferChain blocks;  // of the extents in order; empty: they are cleared
    };
    // Gives it its ticket. It leaves the list when it is acknowledged, or destroyed (the append failed).
    void add(Sent& sent) {
        sent.ticket = ++last_ticket_;
        sent_.push_back(sent);
    }
    // In the order of acknowledgement, before the requests themselves learn of it: an older one that is still
    // listed would pass for the newest.
    void acknowledged(u64 ticket);
    // The block as sent last, if it is in flight; an empty buffer: zeros.
    [[nodiscard]] std::optional<Buffer> newest(u64 lba);

  private:
    IntrusiveList<Sent> sent_;
    u64 last_ticket_ = 0;
};

// A lock on a run of blocks, all of it at once, first come, first served: so there is no deadlock.
class RangeLocks {
  public:
    class Held : public ListNode {
      public:
        Held() = default;
        Held(const Held&) = delete;
        Held& operator=(const Held&) = delete;
        ~Held() { release(); }
        void release();

      private:
        friend class RangeLocks;
        RangeLocks* owner_ = nullptr;
        Extent extent_;
    };
    // Waits until no earlier one overlaps. `held` gives it back when destroyed.
    [[nodiscard]] Task<void> lock(Held& held, Extent extent);
    // Nothing is locked or waiting: nobody needs to ask.
    [[nodiscard]] bool idle() const { return locks_.empty(); }

  private:
    [[nodiscard]] bool is_first(const Held& held);
    IntrusiveList<Held> locks_;
    Notify released_;
};

}  // namespace corelet
