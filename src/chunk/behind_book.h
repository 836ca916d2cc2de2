// Chunks that are referred to, or may be, although not everybody in service has its fragment yet: of pools that
// name a write quorum (PoolSpec::puts_behind). As long as one stands here it bears the loss of fewer corelets than
// its pool promises, `can_lose` counts it by who has it, and no checkpoint refers to it. Pure: time and maps come
// in.
//
// A put from here goes on behind (its tail) and is then asked about; what a former owner put is asked about from
// the beginning. It is struck off when everybody in service has its own, or after a minute: by then whoever has not
// is down, which the map says, or has compared inventories and makes it good, and says that.
#pragma once

#include <map>
#include <vector>

#include "base/time.h"
#include "chunk/degraded_chunks.h"
#include "mesh/map.h"

namespace corelet {

class BehindBook {
  public:
    struct Options {
        usize chunks_max = 1024;
        Duration settle = 10_s;  // a checkpoint waits no longer for one
        Duration watch = 60_s;
        Duration ask_every = 1_s;
        usize asked_at_once = 64;
    };
    explicit BehindBook(Options options) : options_(options) {}

    // A put from here whose quorum is durable. False: no room; it has to be waited for.
    [[nodiscard]] bool begin(PoolId pool, ChunkId chunk, Instant now);
    // Nothing more of it is put from here.
    void end_tail(ChunkId chunk);
    // Put by a former owner, who may have gone before it had everything put.
    void watch(PoolId pool, ChunkId chunk, Instant now);
    // The holder has these positions (bits). What is not in the book is no matter.
    void learn(ChunkId chunk, CoreletId holder, u32 positions);
    // Everybody in service was asked, and `all` or some have answered; who has not is taken not to have it.
    void asked(ChunkId chunk, bool all);
    void forget(ChunkId chunk) { chunks_.erase(chunk); }
    // Strikes off what need not be watched any more.
    void look(const mesh::Map& map, Instant now);

    // Those to be asked about now, in turn.
    [[nodiscard]] std::vector<ChunkId> to_ask(Instant now);
    [[nodiscard]] std::optional<PoolId> pool_of(ChunkId chunk) const;
    [[nodiscard]] bool has_tail(ChunkId chunk) const;
    // There are some that are not put from here any more.
    [[nodiscard]] bool is_asking() const;
    [[nodiscard]] bool is_empty() const { return chunks_.empty(); }
    [[nodiscard]] usize size() const { return chunks_.size(); }
    // For is_settled: those that are in the book now.
    [[nodiscard]] u64 mark() const { return next_; }
    // None of that space from before the mark is left, or was given the time to settle.
    [[nodiscard]] bool is_settled(SpaceId space, u64 mark, Instant now) const;
    // By who has them; the fewest first.
    [[nodiscard]] std::vector<DegradedChunks> rows(const mesh::Map& map, usize limit) const;

  private:
    struct Chunk {
        PoolId pool;
        u64 number = 0;
        bool tail = false;
        bool known = false;  // who has it; else it is as bad as can be
        std::map<CoreletId, u32> holders;
        Instant settle_by, watch_until, ask_at;
    };
    Chunk* add(PoolId pool, ChunkId chunk, Instant now);
    [[nodiscard]] static bool is_whole(const mesh::Map& map, ChunkId id, const Chunk& chunk);
    [[nodiscard]] static std::vector<CoreletId> worst_holders(const mesh::Map& map, ChunkId id, const Chunk& chunk);

    Options options_;
    std::map<ChunkId, Chunk> chunks_;
    u64 next_ = 0;
};

}  // namespace corelet
