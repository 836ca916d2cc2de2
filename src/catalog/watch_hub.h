// Watches over a CatalogState that somebody else changes: the voter's own, or a mirror. One executor.
#pragma once

#include "catalog/state.h"
#include "rt/sync.h"

namespace corelet {

class WatchHub {
  public:
    explicit WatchHub(const CatalogState& state) : state_(&state) {}
    // The state has changed.
    void changed() { changed_.notify_all(); }
    void follow(const CatalogState& state) {
        state_ = &state;
        changed();
    }
    [[nodiscard]] std::unique_ptr<Watch> watch(std::string prefix, Revision from);
    // Waits until the state's revision is above `after`, or the deadline.
    [[nodiscard]] Task<void> wait_beyond(Revision after, Clock& clock, Instant deadline);
    [[nodiscard]] const CatalogState& state() const { return *state_; }

  private:
    friend class HubWatch;
    const CatalogState* state_;
    Notify changed_;
};

}  // namespace corelet
