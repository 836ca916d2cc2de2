// Through whom a connection goes when its target is not reached directly: whoever the corelets' watch over each
// other says reaches it, and otherwise whoever this corelet is connected to.
#pragma once

#include "mesh/map_source.h"
#include "mesh/membership.h"
#include "wire/rpc.h"

namespace corelet {

class Detours final : public Routes {
  public:
    // All outlive it.
    Detours(const RpcNode& rpc, const mesh::MapSource& maps, const mesh::Membership& membership)
        : rpc_(rpc), maps_(maps), membership_(membership) {}
    // Nobody for one that is down, or of whom the map knows nothing; k_most otherwise.
    [[nodiscard]] Advice advise(CoreletId peer) override;
    static constexpr usize k_most = 2;

  private:
    [[nodiscard]] std::vector<CoreletId> connected_thirds(CoreletId peer) const;

    const RpcNode& rpc_;
    const mesh::MapSource& maps_;
    const mesh::Membership& membership_;
};

}  // namespace corelet
