// Redundant chunks over the mesh: encode, spread, read back, degrade, delete. What a stream packs its data into.
//
// A chunk is immutable; its fragments lie on the corelets of its slot in the pool's table. All calls carry the
// traffic class, may be dropped at any await, and are bounded by their deadline.
#pragma once

#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "device/types.h"
#include "rt/task.h"
#include "wire/rpc.h"

namespace corelet {

struct ChunkPutOptions {
    TrafficClass traffic = TrafficClass::kClient;
    SpaceClass room = SpaceClass::kClient;  // how far into the reserve it may go
};

struct ChunkPutResult {
    MapEpoch map_epoch;         // the table it was put by
    u32 fragments_durable = 0;  // of k + m; at least the pool's write quorum
    bool complete = false;      // all k + m durable on corelets that are up
    bool by_quorum = false;     // the pool names a write quorum, which is; the rest is put behind
    // As much as the pool's write policy asks for before what refers to it may be acknowledged.
    [[nodiscard]] bool is_enough() const { return complete || by_quorum; }
};

class Chunks {
  public:
    virtual ~Chunks() = default;

    // Encodes and stores. `data` is a multiple of 4 KiB, at most the pool's chunk size; `crcs` are the plain CRC32C
    // of its 4 KiB blocks, carried from where the data entered. Returns when the pool's write quorum is durable;
    // the missing rest is heal work. The same id with the same bytes is fine (a retry); with others kExists.
    // kUnavailable: fewer than the write quorum in service (wait; data stays in the log). kNoSpace.
    [[nodiscard]] virtual Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data,
                                                           std::vector<u32> crcs, ChunkPutOptions options) = 0;

    // Bytes [offset, offset + length) of the chunk's data, 4 KiB-aligned. Each block is checked against
    // `expected_crcs` (plain CRC of each block of the range) if given, else against the fragments' own; what fails
    // or is slow is decoded from k others. kUnknown: no fragment was found where it should be (which proves
    // nothing); kCorrupt: fewer than k verify.
    [[nodiscard]] virtual Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset,
                                                        u64 length, std::vector<u32> expected_crcs,
                                                        TrafficClass traffic) = 0;

    // Drops the fragments of chunks that the caller, owner of their space at `epoch`, has proven dead (protocols
    // 8). Best effort: what is not reached is found by inventories later.
    [[nodiscard]] virtual Task<Result<void>> remove(PoolId pool, std::vector<ChunkId> chunks, Epoch epoch) = 0;

    // Returns when of what was put into the space so far, by anybody who is known here, everybody in service has
    // its fragments, or had ten seconds for it: before a checkpoint refers to it, and the log lets go of what is in
    // it. At once where puts wait for everybody in any case.
    [[nodiscard]] virtual Task<void> settle(SpaceId /*space*/) { co_return; }
    // A chunk that the log names, put by a former owner.
    virtual void watch(PoolId /*pool*/, ChunkId /*chunk*/) {}

    // Bytes on media for `bytes` of data in the pool, and whether at least the write quorum is in service now.
    [[nodiscard]] virtual bool can_put(PoolId pool) const = 0;
};

}  // namespace corelet
