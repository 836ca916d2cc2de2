// Chunks over the mesh: the writer's and reader's side (chunk/chunks.h says what each call promises).
#pragma once

#include <functional>
#include <map>
#include <set>

#include "chunk/behind_book.h"
#include "chunk/chunks.h"
#include "chunk/peer_book.h"
#include "chunk/source_book.h"
#include "ec/codec.h"
#include "ec/geometry.h"
#include "mesh/map_source.h"
#include "rt/env.h"
#include "rt/sync.h"
#include "wire/request_observer.h"

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
        // Of fragments whose puts go on behind, where a pool names a write quorum; beyond, a put waits for
        // everybody.
        u64 behind_bytes_max = 64 * k_mib;
        BehindBook::Options behind{};
        PeerBook::Options peers{};
    };
    MeshChunks(Env& env, RpcNode& rpc, mesh::MapSource& maps, Options options)
        : env_(env),
          rpc_(rpc),
          maps_(maps),
          options_(options),
          peers_(options.peers),
          behind_(options.behind),
          reports_(env.executor),
          late_(env.executor),
          tails_(env.executor) {}

    [[nodiscard]] Task<Result<ChunkPutResult>> put(PoolId pool, ChunkId chunk, BufferChain data,
                                                   std::vector<u32> crcs, ChunkPutOptions options) override;
    [[nodiscard]] Task<Result<BufferChain>> get(PoolId pool, ChunkId chunk, u64 chunk_bytes, u64 offset, u64 length,
                                                std::vector<u32> expected_crcs, TrafficClass traffic) override;
    [[nodiscard]] Task<Result<void>> remove(PoolId pool, std::vector<ChunkId> chunks, Epoch epoch) override;
    [[nodiscard]] bool can_put(PoolId pool) const override;
    [[nodiscard]] Task<void> settle(SpaceId space) override;
    void watch(PoolId pool, ChunkId chunk) override;
    // It is being put from here, although it may be referred to already.
    [[nodiscard]] bool has_tail(ChunkId chunk) const { return behind_.has_tail(chunk); }
    // Chunks that lack fragments because their pool's write quorum was enough, by who has them; fewest first.
    [[nodiscard]] std::vector<DegradedChunks> behind(usize limit) const {
        return behind_.rows(*maps_.current(), limit);
    }
    [[nodiscard]] const ChunkStats& stats() const { return stats_; }
    [[nodiscard]] const PeerBook& peers() const { return peers_; }
    // Told of clients' reads of fragments. Outlives this.
    void set_observer(RequestObserver* observer) { observer_ = observer; }
    // Whose devices the mesh holds to be slow: what they hold is read from others too, after as long as those take.
    void set_slow(std::set<CoreletId> slow) { peers_.set_slow(std::move(slow)); }

    // Told of what clients feel at those that were read from for healing, in permille of the usual. One listener;
    // empty ends it.
    void on_strain(std::function<void(CoreletId source, u32 permille)> listener) {
        strain_listener_ = std::move(listener);
    }

    // Bytes [offset, offset + length) of fragments of one chunk. `except`: a corelet not to ask (a rebuilder does
    // not ask itself).
    struct Wanted {
        PoolId pool;
        ChunkId chunk;
        u64 offset = 0;
        u64 length = 0;
        TrafficClass traffic = TrafficClass::kClient;
        CoreletId except{};
        bool except_strays = false;  // of that one: nothing at all, also not what no table gives to it
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
    [[nodiscard]] Task<Result<ChunkPutResult>> put_to_all(std::shared_ptr<Spread> spread);
    [[nodiscard]] Task<Result<void>> put_round(std::shared_ptr<Spread> spread);
    [[nodiscard]] Task<Result<void>> put_one(std::shared_ptr<Spread> spread, u8 position, CoreletId member,
                                             mesh::TablePtr table);
    [[nodiscard]] Standing standing_of(const Spread& spread) const;
    [[nodiscard]] Task<Result<void>> remove_at(CoreletId at, Buffer body);

    // chunk_behind.cc
    [[nodiscard]] bool may_put_behind(const mesh::Pool& pool, const Spread& spread) const;
    [[nodiscard]] Task<Result<ChunkPutResult>> put_ahead(std::shared_ptr<Spread> spread);
    [[nodiscard]] Task<void> put_tail(std::shared_ptr<Spread> spread);
    void learn_of(const Spread& spread);
    void look_behind();
    [[nodiscard]] Task<void> ask_behind();
    [[nodiscard]] Task<void> ask_holders(ChunkId chunk);

    // chunk_get.cc
    struct Findings;
    [[nodiscard]] Task<Result<Piece>> read_direct(CoreletId from, Wanted wanted, u8 position,
                                                  std::vector<u32> expected);
    [[nodiscard]] Task<Result<Piece>> read_holders(Wanted wanted, u8 position, std::vector<u32> expected,
                                                   std::shared_ptr<Findings> findings);
    [[nodiscard]] Task<Result<Piece>> hedged_piece(Wanted wanted, u8 position, std::vector<u32> expected);
    [[nodiscard]] std::vector<CoreletId> in_order(const mesh::Map& map, std::vector<CoreletId> holders,
                                                  const Wanted& wanted) const;
    [[nodiscard]] u32 load(CoreletId holder, TrafficClass traffic) const;
    void note_strain(CoreletId source, u32 permille);
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
    SourceBook sources_;
    std::function<void(CoreletId, u32)> strain_listener_;
    RequestObserver* observer_ = nullptr;
    HedgeBudget hedges_;
    BehindBook behind_;
    Notify behind_changed_;
    u64 behind_bytes_ = 0;
    bool asks_behind_ = false;
    Scope reports_;
    Scope late_;   // reads of holders; a few go on when another answer was faster
    Scope tails_;  // puts that go on when their quorum is durable
};

// One chunk on its way to its homes. Fragments that are durable somewhere stay so when the table changes under the
// put: only places that have it not yet are written, and what lies elsewhere by then is a stray.
struct MeshChunks::Spread {
    PoolId pool;
    ChunkId chunk;
    mesh::Redundancy redundancy;
    u64 chunk_bytes = 0;
    ChunkPutOptions options;
    Instant patience;
    std::vector<BufferChain> fragments;  // one for all copies of a replicated chunk
    std::vector<std::vector<u32>> crcs;
    std::set<std::pair<u8, CoreletId>> durable;
    std::set<std::pair<u8, CoreletId>> refused;  // full, or its device fails: not waited for
    Error last{Code::kUnavailable, false, 0, "no member of the slot was asked"};
    // Of one that may go on behind.
    bool abandoned = false;  // nobody waits for it, and nobody refers to it
    std::optional<Result<ChunkPutResult>> end;
    Notify changed;

    [[nodiscard]] usize piece(u8 position) const { return fragments.size() == 1 ? 0 : position; }
    [[nodiscard]] u64 bytes() const {
        u64 sum = 0;
        for (const BufferChain& fragment : fragments) sum += fragment.size();
        return sum;
    }
};

// Where a put stands by the present map.
struct MeshChunks::Standing {
    MapEpoch epoch;
    u32 durable = 0;
    u32 waited_for = 0;  // members that are up and could still take it
    u32 least = 0;       // of durable ones, for success
    bool in_service = false;

    [[nodiscard]] bool is_enough() const { return least != 0 && durable >= least; }
};

// Why fragments could not be read.
struct MeshChunks::Findings {
    std::set<CoreletId> silent;  // could have one, is not out, and did not answer
    std::set<CoreletId> out;     // could have one, and is given up
    unsigned denied = 0;         // positions that everybody asked for them says not to have
    unsigned corrupt = 0;        // positions that are there and do not verify
};

}  // namespace corelet
