// Chunks of one volume with the patience that a volume needs: what may pass is tried again, for as long as it
// takes.
#pragma once

#include "chunk/chunks.h"
#include "rt/clock.h"
#include "rt/log.h"
#include "volume/chunk_index.h"

namespace corelet {

class ChunkIo {
  public:
    ChunkIo(Chunks& chunks, Clock& clock, Log& log, SpaceId space, PoolId pool)
        : chunks_(chunks), clock_(clock), log_(log), space_(space), pool_(pool) {}

    // Until the write quorum has it, into the reserve as far as `room` may. Ends only with success or an error that
    // time does not heal.
    [[nodiscard]] Task<Result<void>> put(u64 seq, BufferChain data, std::vector<u32> crcs, SpaceClass room);
    // Once, of client data that may not take the reserve. True: all of its fragments are durable, or the write
    // quorum that the pool names; false: not so many.
    [[nodiscard]] Task<Result<bool>> put_enough(u64 seq, BufferChain data, std::vector<u32> crcs,
                                                TrafficClass traffic);
    // Blocks [first, first + count) of a chunk. What is retryable is tried again; kUnknown a few times (a fragment
    // may be on its way), then returned: it proves nothing by itself.
    [[nodiscard]] Task<Result<BufferChain>> get(u64 seq, u64 chunk_blocks, u64 first, u64 count,
                                                std::vector<u32> expected_crcs, TrafficClass traffic);
    // The index at the head of a data chunk, or the index chunk of an adopted segment.
    [[nodiscard]] Task<Result<ChunkIndex>> get_index(u64 seq, u32 chunk_blocks, TrafficClass traffic);
    [[nodiscard]] Task<Result<void>> remove(std::vector<u64> seqs, Epoch epoch);
    // What was put so far is with everybody in service, or they had their time (Chunks::settle).
    [[nodiscard]] Task<void> settle() { return chunks_.settle(space_); }
    // A chunk that a former owner put and the log names.
    void watch(u64 seq) { chunks_.watch(pool_, {space_, seq}); }
    [[nodiscard]] bool can_put() const { return chunks_.can_put(pool_); }
    [[nodiscard]] SpaceId space() const { return space_; }
    [[nodiscard]] Clock& clock() const { return clock_; }
    [[nodiscard]] Log& log() const { return log_; }
    [[nodiscard]] u64 bytes_put() const { return bytes_put_; }

  private:
    Chunks& chunks_;
    Clock& clock_;
    Log& log_;
    SpaceId space_;
    PoolId pool_;
    u64 bytes_put_ = 0;
};

// 10 ms, doubling to 1 s: between one try and the next.
[[nodiscard]] Duration backoff(u32 attempt);

}  // namespace corelet
