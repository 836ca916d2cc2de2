#include "heal/inventory.h"

#include <algorithm>

#include "base/hash.h"
#include "rt/executor.h"

namespace corelet {

namespace {
constexpr usize k_walk_batch = 1024;
}

void ChunkDigest::add(ChunkId chunk) {
    ++count;
    sum += hash64(chunk.space.v, chunk.seq);
}

void ChunkDigest::take(ChunkId chunk) {
    --count;
    sum -= hash64(chunk.space.v, chunk.seq);
}

u32 positions_held(const Store& store, ChunkId chunk, unsigned width) {
    u32 positions = 0;
    for (unsigned p = 0; p < width; ++p)
        if (store.fragment_info(FragmentId{chunk, static_cast<u8>(p)})) positions |= 1U << p;
    return positions;
}

Inventory::State Inventory::empty_state(const mesh::Map& map, u64 version) {
    State state;
    for (const mesh::Pool& pool : map.pools)
        state.pools[pool.id] = PoolHoldings{pool.tables.front(), pool.spec.locality, {}, 0};
    state.version = version;
    return state;
}

bool Inventory::is_up_to(const mesh::Map& map, const SpaceDirectory& spaces) const {
    // A space of which nothing is known is looked up again when anything has been heard.
    if (!spaces_ || (state_.unplaced != 0 && spaces.version() != state_.version)) return false;
    for (const mesh::Pool& pool : map.pools) {
        auto const known = state_.pools.find(pool.id);
        if (known == state_.pools.end()) return false;
        const mesh::SlotTable& table = *known->second.table;
        bool const same = table.slots() == pool.current().slots() && table.hash() == pool.current().hash();
        if (!same || known->second.locality != pool.spec.locality) return false;
    }
    return true;
}

Task<void> Inventory::bring_up(std::shared_ptr<const mesh::Map> map, const SpaceDirectory* spaces) {
    if (is_up_to(*map, *spaces)) co_return;
    Permit const one_at_a_time = co_await walking_.lock();
    if (is_up_to(*map, *spaces)) co_return;
    spaces_ = spaces;
    ++walks_;
    // Dropped half-way, it begins again: what was made is nobody's.
    next_ = empty_state(*map, spaces->version());
    walked_.reset();
    for (;;) {
        auto const batch = store_.list_fragments(walked_, k_walk_batch);
        for (const FragmentInfo& info : batch) apply(*next_, info.id, true);
        if (batch.size() < k_walk_batch) break;
        walked_ = batch.back().id;
        co_await yield();
    }
    state_ = *std::move(next_);
    next_.reset();
}

void Inventory::changed(const FragmentId& id, bool here) {
    if (!spaces_) return;
    apply(state_, id, here);
    // What a walk has not come to yet, it will find as it is then.
    if (next_ && walked_ && id <= *walked_) apply(*next_, id, here);
}

std::optional<PoolId> Inventory::pool_in(State& state, SpaceId space) const {
    auto const [known, fresh] = state.pool_of.try_emplace(space);
    if (fresh) known->second = spaces_->pool_of(space);
    return known->second;
}

void Inventory::apply(State& state, const FragmentId& id, bool here) const {
    u64& of_space = state.fragments[id.chunk.space];
    of_space += here ? 1 : u64(-1);
    if (of_space == 0) state.fragments.erase(id.chunk.space);
    auto const pool_id = pool_in(state, id.chunk.space);
    auto const found = pool_id ? state.pools.find(*pool_id) : state.pools.end();
    if (found == state.pools.end()) {
        state.unplaced += here ? 1 : u64(-1);
        return;
    }
    PoolHoldings& pool = found->second;
    u32 const slot = mesh::slot_of(id.chunk, pool.locality, pool.table->slots());
    SlotHoldings& holdings = pool.slots[slot];
    u64 const strays_before = holdings.strays();
    bool const at_home =
        id.position < pool.table->width() && pool.table->at(slot, id.position) == store_.identity();
    auto const place = std::lower_bound(holdings.chunks.begin(), holdings.chunks.end(), id.chunk);
    bool const listed = place != holdings.chunks.end() && *place == id.chunk;
    if (here) {
        ++holdings.fragments;
        if (at_home) holdings.at_home.add(id.chunk);
        if (!listed) {
            holdings.chunks.insert(place, id.chunk);
            holdings.held.add(id.chunk);
        }
    } else {
        --holdings.fragments;
        if (at_home) holdings.at_home.take(id.chunk);
        if (listed && positions_held(store_, id.chunk, pool.table->width()) == 0) {
            holdings.chunks.erase(place);
            holdings.held.take(id.chunk);
        }
    }
    pool.strays += holdings.strays() - strays_before;
    if (holdings.fragments == 0) pool.slots.erase(slot);
}

const SlotHoldings* Inventory::find(PoolId pool, u32 slot) const {
    auto const holdings = state_.pools.find(pool);
    if (holdings == state_.pools.end()) return nullptr;
    auto const found = holdings->second.slots.find(slot);
    return found == holdings->second.slots.end() ? nullptr : &found->second;
}

u64 Inventory::strays(PoolId pool) const {
    auto const found = state_.pools.find(pool);
    return found == state_.pools.end() ? 0 : found->second.strays;
}

std::vector<SpaceId> Inventory::spaces() const {
    std::vector<SpaceId> out;
    for (auto const& [space, count] : state_.fragments) out.push_back(space);
    return out;
}

usize Inventory::memory_bytes() const {
    usize bytes = sizeof *this;
    for (auto const& [id, pool] : state_.pools)
        for (auto const& [slot, holdings] : pool.slots)
            bytes += 48 + sizeof holdings + holdings.chunks.capacity() * sizeof(ChunkId);
    return bytes;
}

}  // namespace corelet
