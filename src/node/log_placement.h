// Whom a stream's log may choose, by the map.
#pragma once

#include "device/store.h"
#include "mesh/map_source.h"
#include "mesh/membership.h"
#include "stream/ports.h"

namespace corelet {

class MapLogPlacement final : public LogPlacement {
  public:
    MapLogPlacement(const mesh::MapSource& maps, CoreletId self) : maps_(maps), self_(self) {}
    // Peers suspected right now are not chosen, though the map still has them up.
    void attach(const mesh::Membership* membership) { membership_ = membership; }

    [[nodiscard]] LogPolicy policy(PoolId pool) const override;
    [[nodiscard]] std::vector<CoreletId> choose(PoolId pool, usize width, const std::vector<CoreletId>& avoid,
                                                u64 salt) const override;
    [[nodiscard]] usize count_up() const override;
    [[nodiscard]] std::vector<CoreletId> homes(PoolId pool, SegmentId segment) const override;
    [[nodiscard]] std::vector<CoreletId> domain_of(PoolId pool, CoreletId corelet) const override;
    [[nodiscard]] bool is_up(CoreletId corelet) const override;
    [[nodiscard]] bool is_confirmed_dead(CoreletId corelet) const override;
    [[nodiscard]] u64 packed_reservation(PoolId pool, u64 segment_bytes) const override;

  private:
    const mesh::MapSource& maps_;
    CoreletId self_;
    const mesh::Membership* membership_ = nullptr;
};

}  // namespace corelet
