#include "node/holdings_proof.h"

namespace corelet {

void HoldingsProof::map_changed(const mesh::Map& map) {
    bool const first = epoch_.is_zero();
    bool const skipped = !first && map.epoch.v > epoch_.v + 1;
    if (!map.is_up(self_)) {
        up_since_.reset();
    } else if (!up_since_ || skipped) {
        up_since_ = map.epoch;
    }
    if (!up_since_ || *up_since_ == map.epoch) proven_.clear();
    std::set<PoolId> pools;
    for (const mesh::Pool& pool : map.pools) {
        pools.insert(pool.id);
        // Nothing was in it before this map.
        bool const fresh = !first && !skipped && !pools_.contains(pool.id);
        if (fresh && up_since_) proven_.insert(pool.id);
    }
    std::erase_if(proven_, [&](PoolId id) { return !pools.contains(id); });
    pools_ = std::move(pools);
    epoch_ = map.epoch;
}

void HoldingsProof::compared(PoolId pool, MapEpoch epoch) {
    if (up_since_ && epoch >= *up_since_ && pools_.contains(pool)) proven_.insert(pool);
}

}  // namespace corelet
