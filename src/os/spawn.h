// Spawn on the loop's worker threads; the end of the work comes back through the loop's inbox.
#pragma once

#include "os/loop.h"
#include "rt/env.h"
#include "rt/sync.h"

namespace corelet::os {

class PoolSpawn final : public Spawn {
  public:
    explicit PoolSpawn(Loop& loop) : loop_(loop) {}
    [[nodiscard]] Task<void> offload(std::move_only_function<void()> work) override;

  private:
    // At most so many handed over and not done; further ones wait in order.
    static constexpr u64 k_outstanding_max = 256;
    Loop& loop_;
    // Shared with work in flight, which may outlive this object.
    std::shared_ptr<Semaphore> outstanding_ = std::make_shared<Semaphore>(k_outstanding_max);
};

// As Spawn::offload, for this folder's own blocking calls: opening files, resolving names. Not bounded.
[[nodiscard]] Task<void> run_on_worker(Loop* loop, std::move_only_function<void()> work);

}  // namespace corelet::os
