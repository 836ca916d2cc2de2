// Whether this corelet knows what it misses. While it is away others put chunks without it, so from when it comes
// up it holds what it should only as far as it has compared itself with all others since (design section 14:
// can_lose counts what healing has not yet found).
#pragma once

#include <optional>
#include <set>

#include "mesh/map.h"

namespace corelet {

class HoldingsProof {
  public:
    explicit HoldingsProof(CoreletId self) : self_(self) {}
    // Each map as it comes. One that was skipped may have shown this corelet down: all is to be compared again.
    void map_changed(const mesh::Map& map);
    // Everybody who was up in the map of this epoch was asked.
    void compared(PoolId pool, MapEpoch epoch);
    [[nodiscard]] bool proven(PoolId pool) const { return proven_.contains(pool); }

  private:
    CoreletId self_;
    MapEpoch epoch_;
    std::optional<MapEpoch> up_since_;
    std::set<PoolId> pools_;  // of the last map
    std::set<PoolId> proven_;
};

}  // namespace corelet
