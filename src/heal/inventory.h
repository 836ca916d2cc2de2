// What one corelet holds, by pool and slot: what members of a slot compare.
#pragma once

#include <map>

#include "catalog/catalog.h"
#include "device/store.h"
#include "mesh/map.h"

namespace corelet {

// Which pool a space's chunks belong to; empty if its stream is not known here.
class SpaceDirectory {
  public:
    virtual ~SpaceDirectory() = default;
    [[nodiscard]] virtual std::optional<PoolId> pool_of(SpaceId space) const = 0;
    // The space was deleted, as far as this corelet has heard. Decides nothing by itself.
    [[nodiscard]] virtual bool seems_deleted(SpaceId space) const = 0;
};

struct Holding {
    u32 positions = 0;      // bit p: fragment p
    u64 fragment_bytes = 0;
};

struct SlotInventory {
    u64 count = 0;          // of chunks
    u64 sum = 0;            // of their pinned hashes: equal sets have equal sums
    std::map<ChunkId, Holding> chunks;
};

using PoolInventory = std::map<u32, SlotInventory>;  // by slot

// One pass over the index. `slots` numbers the slots of each pool as in the map's current tables.
[[nodiscard]] std::map<PoolId, PoolInventory> take_inventory(const Store& store, const mesh::Map& map, const SpaceDirectory& spaces);

}  // namespace corelet
