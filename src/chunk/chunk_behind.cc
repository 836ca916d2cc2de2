// Puts of pools that name a write quorum: who waits is answered when that is durable, and the rest goes on behind
// (chunk/behind_book.h).
#include "chunk/mesh_chunks.h"
#include "rt/combine.h"

namespace corelet {

bool MeshChunks::may_put_behind(const mesh::Pool& pool, const Spread& spread) const {
    return pool.spec.puts_behind() && behind_bytes_ + spread.bytes() <= options_.behind_bytes_max;
}

Task<Result<ChunkPutResult>> MeshChunks::put_ahead(std::shared_ptr<Spread> spread) {
    // Who is dropped waits for nothing, and names it to nobody.
    struct Waits {
        Spread& spread;
        bool answered = false;
        ~Waits() { spread.abandoned = !answered; }
    } waits{*spread};
    behind_bytes_ += spread->bytes();
    tails_.spawn(put_tail(spread));
    for (bool room = true;;) {
        if (spread->end) {
            waits.answered = true;
            co_return *spread->end;
        }
        Standing const standing = standing_of(*spread);
        if (standing.is_enough() && room) {
            room = behind_.begin(spread->pool, spread->chunk, env_.clock.now());
            if (room) {
                learn_of(*spread);
                waits.answered = true;
                co_return ChunkPutResult{standing.epoch, standing.durable,
                                         standing.durable == spread->redundancy.width()};
            }
        }
        co_await spread->changed.wait();
    }
}

void MeshChunks::learn_of(const Spread& spread) {
    for (auto const& [position, member] : spread.durable) behind_.learn(spread.chunk, member, 1U << position);
}

Task<void> MeshChunks::put_tail(std::shared_ptr<Spread> spread) {
    u64 const bytes = spread->bytes();
    spread->end = co_await put_to_all(spread);
    behind_bytes_ -= bytes;
    // Somebody in service may have refused it, or its time is over.
    bool const lacks = *spread->end && !(*spread->end)->complete && !spread->abandoned;
    if (lacks && behind_.begin(spread->pool, spread->chunk, env_.clock.now())) learn_of(*spread);
    spread->changed.notify_all();
    behind_.end_tail(spread->chunk);
    look_behind();
}

// Returns at once where nothing is behind, as in all pools without a write quorum.
Task<void> MeshChunks::settle(SpaceId space) {
    u64 const mark = behind_.mark();
    while (!behind_.is_settled(space, mark, env_.clock.now()))
        co_await behind_changed_.wait_until(env_.clock, env_.clock.now() + 200_ms);
}

void MeshChunks::watch(PoolId pool_id, ChunkId chunk) {
    auto const map = maps_.current();
    const mesh::Pool* const pool = map->find(pool_id);
    if (!pool || !pool->may_be_behind()) return;
    behind_.watch(pool_id, chunk, env_.clock.now());
    look_behind();
}

void MeshChunks::look_behind() {
    behind_.look(*maps_.current(), env_.clock.now());
    behind_changed_.notify_all();
    if (asks_behind_ || !behind_.is_asking()) return;
    asks_behind_ = true;
    tails_.spawn(ask_behind());
}

Task<void> MeshChunks::ask_behind() {
    while (behind_.is_asking()) {
        for (ChunkId chunk : behind_.to_ask(env_.clock.now())) co_await ask_holders(chunk);
        behind_.look(*maps_.current(), env_.clock.now());
        behind_changed_.notify_all();
        if (behind_.is_asking()) co_await env_.clock.sleep(options_.behind.ask_every);
    }
    asks_behind_ = false;
}

// Whoever could have one, by any table.
Task<void> MeshChunks::ask_holders(ChunkId chunk) {
    auto const map = maps_.current();
    auto const pool_id = behind_.pool_of(chunk);
    const mesh::Pool* const pool = pool_id ? map->find(*pool_id) : nullptr;
    if (!pool) co_return;
    std::vector<CoreletId> asked = pool->holders(chunk);
    std::erase_if(asked, [&](CoreletId holder) { return !map->is_up(holder); });
    std::vector<Task<Result<u32>>> asks;
    for (CoreletId member : asked) asks.push_back(positions_at(member, chunk, TrafficClass::kHeal));
    auto const answers = co_await join_all<Result<u32>>(std::move(asks));
    bool all = true;
    for (usize i = 0; i < asked.size(); ++i) {
        all = all && answers[i].has_value();
        if (answers[i]) behind_.learn(chunk, asked[i], *answers[i]);
    }
    behind_.asked(chunk, all);
}

}  // namespace corelet
