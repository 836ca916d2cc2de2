#include "heal/inventory.h"

#include "base/hash.h"

namespace corelet {

std::map<PoolId, PoolInventory> take_inventory(const Store& store, const mesh::Map& map, const SpaceDirectory& spaces) {
    static constexpr usize k_batch = 1024;
    std::map<PoolId, PoolInventory> out;
    std::optional<FragmentId> after;
    for (;;) {
        auto const batch = store.list_fragments(after, k_batch);
        for (const FragmentInfo& info : batch) {
            auto const pool_id = spaces.pool_of(info.id.chunk.space);
            const mesh::Pool* const pool = pool_id ? map.find(*pool_id) : nullptr;
            if (!pool) continue;
            SlotInventory& slot = out[*pool_id][pool->slot(info.id.chunk)];
            Holding& holding = slot.chunks[info.id.chunk];
            if (holding.positions == 0) {
                ++slot.count;
                slot.sum += hash64(info.id.chunk.space.v, info.id.chunk.seq);
            }
            holding.positions |= 1U << info.id.position;
            holding.fragment_bytes = info.bytes;
        }
        if (batch.size() < k_batch) return out;
        after = batch.back().id;
    }
}

}  // namespace corelet
