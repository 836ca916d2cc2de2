// What one corelet holds, by pool and slot: what the members of a slot compare. Kept up to date as fragments come
// and go; only when slots are numbered anew, or places are given anew, is the index walked, in batches. 16 bytes a
// chunk.
#pragma once

#include <map>

#include "device/store.h"
#include "mesh/map.h"
#include "rt/sync.h"

namespace corelet {

// Which pool a space's chunks belong to; empty if its stream is not known here.
class SpaceDirectory {
  public:
    virtual ~SpaceDirectory() = default;
    [[nodiscard]] virtual std::optional<PoolId> pool_of(SpaceId space) const = 0;
    // The space was deleted, as far as this corelet has heard. Decides nothing by itself.
    [[nodiscard]] virtual bool seems_deleted(SpaceId space) const = 0;
    // Another one when any of the above may be answered otherwise.
    [[nodiscard]] virtual u64 version() const = 0;
};

// Order-independent digest of a set of chunks: equal sets have equal digests.
struct ChunkDigest {
    u64 count = 0;
    u64 sum = 0;
    void add(ChunkId chunk);
    void take(ChunkId chunk);
    friend bool operator==(const ChunkDigest&, const ChunkDigest&) = default;
};

struct SlotHoldings {
    std::vector<ChunkId> chunks;  // ascending; of which any fragment is here
    ChunkDigest held;             // of these
    ChunkDigest at_home;          // of which the fragment is here that the current table gives to this corelet
    u64 fragments = 0;
    [[nodiscard]] u64 strays() const { return fragments - at_home.count; }
};

class Inventory {
  public:
    explicit Inventory(const Store& store) : store_(store) {}
    Inventory(const Inventory&) = delete;
    Inventory& operator=(const Inventory&) = delete;

    // Numbers slots and gives places by the map's current tables; returns at once when that is how things are.
    [[nodiscard]] Task<void> bring_up(std::shared_ptr<const mesh::Map> map, const SpaceDirectory* spaces);
    [[nodiscard]] bool is_up_to(const mesh::Map& map, const SpaceDirectory& spaces) const;
    // A fragment has come, or gone (Store::on_fragment_change).
    void changed(const FragmentId& id, bool here);

    // Null: nothing is held in that slot. Valid until the next await.
    [[nodiscard]] const SlotHoldings* find(PoolId pool, u32 slot) const;
    [[nodiscard]] u64 strays(PoolId pool) const;
    // Fragments of spaces whose pool is not known here.
    [[nodiscard]] u64 unplaced() const { return state_.unplaced; }
    [[nodiscard]] std::vector<SpaceId> spaces() const;
    [[nodiscard]] u64 walks() const { return walks_; }
    [[nodiscard]] usize memory_bytes() const;

  private:
    struct PoolHoldings {
        mesh::TablePtr table;
        unsigned locality = 0;
        std::map<u32, SlotHoldings> slots;
        u64 strays = 0;
    };
    struct State {
        std::map<PoolId, PoolHoldings> pools;
        std::map<SpaceId, std::optional<PoolId>> pool_of;
        std::map<SpaceId, u64> fragments;  // by space
        u64 unplaced = 0;
        u64 version = 0;  // of the directory that it was made by
    };
    void apply(State& state, const FragmentId& id, bool here) const;
    [[nodiscard]] static State empty_state(const mesh::Map& map, u64 version);
    [[nodiscard]] std::optional<PoolId> pool_in(State& state, SpaceId space) const;

    const Store& store_;
    const SpaceDirectory* spaces_ = nullptr;
    State state_;
    std::optional<State> next_;         // being made by a walk
    std::optional<FragmentId> walked_;  // by it, up to here
    Mutex walking_;
    u64 walks_ = 0;
};

// Bits of the positions of a chunk of that width that are here.
[[nodiscard]] u32 positions_held(const Store& store, ChunkId chunk, unsigned width);

}  // namespace corelet
