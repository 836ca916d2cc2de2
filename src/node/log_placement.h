// Whom a stream's log may choose, by the map.
#pragma once

#include <map>
#include <set>

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
    // Slow devices that the mesh can do without (mesh/slow_devices.h): as good as down, for what is new.
    void set_avoided(std::set<CoreletId> avoided);
    [[nodiscard]] const std::set<CoreletId>& avoided() const { return avoided_; }
    [[nodiscard]] bool avoids(CoreletId corelet) const { return avoided_.contains(corelet); }

    [[nodiscard]] LogPolicy policy(PoolId pool) const override;
    [[nodiscard]] std::vector<CoreletId> choose(PoolId pool, usize width, const std::vector<CoreletId>& avoid,
                                                u64 salt) const override;
    [[nodiscard]] usize count_up() const override;
    [[nodiscard]] std::vector<CoreletId> homes(PoolId pool, SegmentId segment) const override;
    [[nodiscard]] bool suits(PoolId pool, ChunkId chunk) const override;
    [[nodiscard]] std::vector<CoreletId> domain_of(PoolId pool, CoreletId corelet) const override;
    [[nodiscard]] bool is_up(CoreletId corelet) const override;
    [[nodiscard]] bool is_leaving(CoreletId corelet) const override;
    [[nodiscard]] bool is_confirmed_dead(CoreletId corelet) const override;
    [[nodiscard]] u64 packed_reservation(PoolId pool, u64 segment_bytes) const override;

  private:
    const mesh::MapSource& maps_;
    CoreletId self_;
    const mesh::Membership* membership_ = nullptr;
    std::set<CoreletId> avoided_;
    mutable std::map<PoolId, std::pair<MapEpoch, std::vector<bool>>>
        choices_;  // of slots, by the map of that epoch
};

// The log of an owner that stores nothing of it: on others alone, if there are enough.
class ElsewherePlacement final : public LogPlacement {
  public:
    ElsewherePlacement(const LogPlacement& inner, CoreletId self) : inner_(inner), self_(self) {}
    [[nodiscard]] LogPolicy policy(PoolId pool) const override { return inner_.policy(pool); }
    [[nodiscard]] std::vector<CoreletId> choose(PoolId pool, usize width, const std::vector<CoreletId>& avoid,
                                                u64 salt) const override;
    [[nodiscard]] usize count_up() const override { return inner_.count_up(); }
    [[nodiscard]] std::vector<CoreletId> homes(PoolId pool, SegmentId segment) const override {
        return inner_.homes(pool, segment);
    }
    [[nodiscard]] bool suits(PoolId pool, ChunkId chunk) const override { return inner_.suits(pool, chunk); }
    [[nodiscard]] std::vector<CoreletId> domain_of(PoolId pool, CoreletId corelet) const override {
        return inner_.domain_of(pool, corelet);
    }
    [[nodiscard]] bool is_up(CoreletId corelet) const override { return inner_.is_up(corelet); }
    [[nodiscard]] bool is_leaving(CoreletId corelet) const override { return inner_.is_leaving(corelet); }
    [[nodiscard]] bool is_confirmed_dead(CoreletId corelet) const override {
        return inner_.is_confirmed_dead(corelet);
    }
    [[nodiscard]] u64 packed_reservation(PoolId pool, u64 segment_bytes) const override {
        return inner_.packed_reservation(pool, segment_bytes);
    }

  private:
    const LogPlacement& inner_;
    CoreletId self_;
};

}  // namespace corelet
