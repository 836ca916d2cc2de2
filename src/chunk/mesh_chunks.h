// Chunks over the mesh: the writer's and reader's side (chunk/chunks.h says what each call promises).
#pragma once

#include <map>

#include "chunk/chunks.h"
#include "ec/codec.h"
#include "ec/geometry.h"
#include "mesh/map_source.h"
#include "rt/env.h"

namespace corelet {

struct ChunkStats {
    u64 puts = 0, gets = 0, degraded_gets = 0, hedged_gets = 0, put_bytes = 0, get_bytes = 0, bad_fragments = 0;
};

class MeshChunks final : public Chunks {
  public:
    struct Options {
        Duration fragment_timeout = 3_s;
        Duration hedge_least = 50_ms;   // an answer later than this, and than 8 x the peer's usual, is not waited for alone
    };
    MeshChunks(Env& env, RpcNode& rpc, mesh::MapSource& maps, Options options) : env_(env), rpc_(rpc), maps_(maps), options_(options) {}

    [[nodiscard]] Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data, std::vector<u32> crcs,
                                                   TrafficClass traffic) override;
    [[nodiscard]] Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                                std::vector<u32> expected_crcs, TrafficClass traffic) override;
    [[nodiscard]] Task<Result<void>> remove(PoolId pool, std::vector<ChunkId> chunks, Epoch epoch) override;
    [[nodiscard]] bool can_put(PoolId pool) const override;
    [[nodiscard]] const ChunkStats& stats() const { return stats_; }

    // One byte range of one fragment, from its holder or decoded from k others: what healing uses too. `except`: corelets not to ask
    // (a rebuilder does not ask itself). Plain checksums come along.
    struct Piece {
        Buffer bytes;
        std::vector<u32> crcs;
    };
    [[nodiscard]] Task<Result<Piece>> read_piece(PoolId pool, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                 TrafficClass traffic, CoreletId except);
    // Puts one fragment at one corelet by the present table. What healing uses when it moves or rebuilds.
    struct FragmentPut {
        PoolId pool;
        FragmentId fragment;
        mesh::TablePtr table;
        mesh::Redundancy redundancy;
        u64 chunk_bytes = 0;
        Buffer data;
        std::vector<u32> crcs;
        TrafficClass traffic = TrafficClass::kClient;
        bool rebuilt = false;
    };
    [[nodiscard]] Task<Result<void>> put_fragment(CoreletId at, FragmentPut put);

  private:
    [[nodiscard]] Task<Result<ChunkPutResult>> put_once(PoolId pool, ChunkId chunk, Buffer data, std::vector<u32> crcs, TrafficClass traffic);
    [[nodiscard]] Task<Result<Piece>> read_direct(CoreletId from, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                  TrafficClass traffic);
    [[nodiscard]] Task<Result<Piece>> read_holders(PoolId pool, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                   TrafficClass traffic, CoreletId except);
    [[nodiscard]] Task<Result<Piece>> decode_piece(PoolId pool, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                   TrafficClass traffic, CoreletId except);
    [[nodiscard]] Task<Result<Piece>> hedged_piece(PoolId pool, FragmentId fragment, u64 offset, u64 length, std::vector<u32> expected,
                                                   TrafficClass traffic);
    [[nodiscard]] Task<Result<void>> remove_at(CoreletId at, Buffer body);
    [[nodiscard]] Result<ec::Codec*> codec(mesh::Redundancy redundancy);
    [[nodiscard]] Duration hedge_delay(CoreletId peer) const;

    Env& env_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    Options options_;
    ChunkStats stats_;
    std::map<std::pair<u8, u8>, std::unique_ptr<ec::Codec>> codecs_;
    std::map<CoreletId, Duration> usual_;  // smoothed answer times
};

}  // namespace corelet
