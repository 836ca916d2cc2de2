// Chunks over the mesh: the writer's and reader's side (chunk/chunks.h says what each call promises).
#pragma once

#include <map>
#include <set>

#include "chunk/chunks.h"
#include "chunk/peer_book.h"
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
        // A member that is up in the map and cannot be reached from here is waited for, until the map has it as
        // down or this is over.
        Duration put_patience = 10_s;
        PeerBook::Options peers{};
    };
    MeshChunks(Env& env, RpcNode& rpc, mesh::MapSource& maps, Options options)
        : env_(env),
          rpc_(rpc),
          maps_(maps),
          options_(options),
          peers_(options.peers),
          reports_(env.executor),
          late_(env.executor) {}

    [[nodiscard]] Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data,
                                                   std::vector<u32> crcs, ChunkPutOptions options) override;
    [[nodiscard]] Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                                std::vector<u32> expected_crcs, TrafficClass traffic) override;
    [[nodiscard]] Task<Result<void>> remove(PoolId pool, std::vector<ChunkId> chunks, Epoch epoch) override;
    [[nodiscard]] bool can_put(PoolId pool) const override;
    [[nodiscard]] const ChunkStats& stats() const { return stats_; }
    [[nodiscard]] const PeerBook& peers() const { return peers_; }

    // Bytes [offset, offset + length) of fragments of one chunk. `except`: a corelet not to ask (a rebuilder does
    // not ask itself).
    struct Wanted {
        PoolId pool;
        ChunkId chunk;
        u64 offset = 0;
        u64 length = 0;
        TrafficClass traffic = TrafficClass::kClient;
        CoreletId except{};
    };
    // That range of one fragment, and the plain checksums of its blocks.
    struct Piece {
        Buffer bytes;
        std::vector<u32> crcs;
        u64 chunk_bytes = 0;  // of the whole chunk; 0 if it was read against `expected`
    };
    // From its holder, or decoded from k others: what healing uses too. Each block is checked against `expected` if
    // that is not empty. kUnknown: more than m positions are denied by everybody who could have them and is not
    // out. kCorrupt: too few verify. kUnavailable: somebody who could have what is missing did not answer.
    [[nodiscard]] Task<Result<Piece>> read_piece(Wanted wanted, u8 position, std::vector<u32> expected);

    // Puts one fragment at one corelet by the present table. What healing uses when it hands on.
    struct FragmentPut {
        PoolId pool;
        FragmentId fragment;
        mesh::TablePtr table;
        mesh::Redundancy redundancy;
        u64 chunk_bytes = 0;
        BufferChain data;
        std::vector<u32> crcs;
        TrafficClass traffic = TrafficClass::kClient;
        SpaceClass room = SpaceClass::kPacking;
        bool rebuilt = false;
    };
    [[nodiscard]] Task<Result<void>> put_fragment(CoreletId at, FragmentPut put);

  private:
    // chunk_put.cc
    struct Spread;
    struct Standing;
    [[nodiscard]] Result<std::shared_ptr<Spread>> cut_up(const mesh::Pool& pool, ChunkId chunk, BufferChain data,
                                                         std::vector<u32> crcs);
    [[nodiscard]] Task<Result<void>> put_round(std::shared_ptr<Spread> spread);
    [[nodiscard]] Standing standing_of(const Spread& spread) const;
    [[nodiscard]] Task<Result<void>> remove_at(CoreletId at, Buffer body);

    // chunk_get.cc
    struct Findings;
    [[nodiscard]] Task<Result<Piece>> read_direct(CoreletId from, Wanted wanted, u8 position,
                                                  std::vector<u32> expected);
    [[nodiscard]] Task<Result<Piece>> read_holders(Wanted wanted, u8 position, std::vector<u32> expected,
                                                   std::shared_ptr<Findings> findings);
    [[nodiscard]] Task<Result<Piece>> hedged_piece(Wanted wanted, u8 position, std::vector<u32> expected);
    [[nodiscard]] std::vector<CoreletId> in_order(const mesh::Map& map, std::vector<CoreletId> holders,
                                                  CoreletId except) const;
    [[nodiscard]] unsigned rank(const mesh::Map& map, CoreletId holder) const;
    [[nodiscard]] u8 pick_copy(const mesh::Map& map, const mesh::Pool& pool, ChunkId chunk) const;
    void report_bad(CoreletId holder, FragmentId fragment);
    [[nodiscard]] Task<void> send_report(CoreletId holder, Buffer body);

    // chunk_decode.cc
    struct Gather;
    [[nodiscard]] Task<Result<Piece>> decode_piece(Wanted wanted, u8 position, std::vector<u32> expected);
    [[nodiscard]] std::vector<u8> positions_by_rank(const mesh::Map& map, const mesh::Pool& pool,
                                                    const Wanted& wanted, u8 but) const;
    [[nodiscard]] Task<void> gather_one(Wanted wanted, u8 position, std::shared_ptr<Gather> gather);
    [[nodiscard]] Task<void> gather_strays(Wanted wanted, mesh::Redundancy redundancy,
                                           std::shared_ptr<Gather> gather);
    [[nodiscard]] Task<Result<u32>> positions_at(CoreletId holder, ChunkId chunk, TrafficClass traffic);
    [[nodiscard]] Result<ec::Codec*> codec(mesh::Redundancy redundancy);

    Env& env_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    Options options_;
    ChunkStats stats_;
    std::map<std::pair<u8, u8>, std::unique_ptr<ec::Codec>> codecs_;
    PeerBook peers_;
    HedgeBudget hedges_;
    Scope reports_;
    Scope late_;  // reads of holders; a few go on when another answer was faster
};

// Why fragments could not be read.
struct MeshChunks::Findings {
    std::set<CoreletId> silent;  // could have one, is not out, and did not answer
    std::set<CoreletId> out;     // could have one, and is given up
    unsigned denied = 0;         // positions that everybody asked for them says not to have
    unsigned corrupt = 0;        // positions that are there and do not verify
};

}  // namespace corelet
