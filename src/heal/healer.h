// Healing at one corelet, without a coordinator: for each slot it serves it compares inventories with the slot's current and former
// members, rebuilds what it should have and has not (fewest surviving fragments first), and hands on what it holds and should not.
// One executor.
#pragma once

#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "heal/inventory.h"

namespace corelet {

namespace heal_method {
inline constexpr Method k_compare{0x0601};
inline constexpr Method k_suspect{0x0602};
}

struct HealStatus {
    u64 chunks_degraded = 0;   // fragments missing here, as of the last round
    u64 bytes_left = 0;
    u64 bytes_done = 0;        // since this corelet started
    u64 fragments_rebuilt = 0;
    u64 strays = 0;
    Duration eta{};            // by the rate of the last minute; zero: nothing to do
    bool paused = false;
};

// What the healer asks of the node.
class HealPort {
  public:
    virtual ~HealPort() = default;
    // This corelet serves all its slots of the pool's table: to be committed (mesh::SlotsClean).
    [[nodiscard]] virtual Task<Result<void>> report_clean(PoolId pool, MapEpoch table_epoch, u64 table_hash) = 0;
    // Chunks of which too few fragments are found: the owner of their space decides whether they are dead (protocols 8.2, 8.3), and no
    // answer counts as live. A put that its writer gave up leaves such.
    [[nodiscard]] virtual Task<void> report_suspects(SpaceId space, std::vector<u64> seqs) = 0;
    // Proven by a linearizable read: the space was deleted (protocols 8.3).
    [[nodiscard]] virtual Task<Result<bool>> is_space_deleted(SpaceId space) = 0;
};

class Healer {
  public:
    struct Options {
        Duration round_every = 5_s;
        usize rebuilds_at_once = 4;
        u64 bytes_per_second = 0;   // 0: only class scheduling limits
    };
    Healer(Env& env, Store& store, RpcNode& rpc, mesh::MapSource& maps, MeshChunks& chunks, FragmentServer& fragments,
           const SpaceDirectory& spaces, HealPort& port, Options options);
    ~Healer();
    Healer(const Healer&) = delete;
    Healer& operator=(const Healer&) = delete;
    // The map changed, or something was found missing.
    void wake() { wanted_.notify_one(); }
    void pause(bool paused);
    [[nodiscard]] HealStatus status() const;

  private:
    struct Missing {
        PoolId pool;
        FragmentId fragment;
        u64 chunk_bytes = 0;
        unsigned survivors = 0;
    };
    struct Stray {
        PoolId pool;
        FragmentId fragment;
    };
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<bool> round();                                   // true: nothing is missing and everybody was asked
    [[nodiscard]] Task<bool> heal_pool(PoolId pool, const PoolInventory* own);
    // Positions seen of each chunk, and its bytes.
    using Known = std::map<ChunkId, std::pair<u32, u64>>;
    // What members, current and former, have in the slots served here. False: somebody who counts did not answer.
    [[nodiscard]] Task<bool> ask_members(std::shared_ptr<const mesh::Map> map, PoolId pool, const PoolInventory* own, Known* known);
    [[nodiscard]] std::vector<Missing> find_missing(const mesh::Pool& pool, const Known& known);
    [[nodiscard]] Task<usize> rebuild_all(std::vector<Missing> missing, MapEpoch epoch);
    [[nodiscard]] std::vector<Stray> find_strays(const mesh::Pool& pool, const PoolInventory* own) const;
    [[nodiscard]] Task<Result<Reply>> on_compare(Request request);
    [[nodiscard]] Task<bool> ask(CoreletId peer, Buffer body, Known* known);
    [[nodiscard]] Task<void> rebuild(Missing missing, usize* failed);
    [[nodiscard]] Task<Result<void>> rebuild_one(Missing missing);
    [[nodiscard]] Task<void> hand_on(std::vector<Stray> strays);
    [[nodiscard]] Task<Result<bool>> confirmed_elsewhere(Stray stray, CoreletId member);
    [[nodiscard]] Task<void> drop_deleted_spaces();

    Env& env_;
    Store& store_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    MeshChunks& chunks_;
    FragmentServer& fragments_;
    const SpaceDirectory& spaces_;
    HealPort& port_;
    Options options_;
    HealStatus status_;
    Instant rate_from_{};
    u64 rate_bytes_ = 0;
    Semaphore slots_;
    Notify wanted_;
    std::map<SpaceId, std::vector<u64>> suspects_;   // of this round
    std::map<PoolId, MapEpoch> reported_clean_;
    std::map<PoolId, std::pair<u64, u64>> left_;   // by pool: fragments and bytes missing
    Scope scope_;
};

}  // namespace corelet
