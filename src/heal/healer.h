// Healing at one corelet, without a coordinator: for each slot it serves it compares inventories with the slot's
// current and former members, rebuilds what it should have and has not, or has damaged (fewest surviving fragments
// first), hands on what it holds and should not, and lets go of what is proven dead. One executor.
//
// Bounds: a few rebuilds at once within a bound of memory, answers of a bounded size, chunks missing in one round;
// beyond them it goes on in the next. All of it is asked for in the classes below clients'.
#pragma once

#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "heal/heal.pb.h"
#include "heal/inventory.h"
#include "heal/rate_meter.h"

namespace corelet {

namespace heal_method {
inline constexpr Method k_compare{0x0601};
inline constexpr Method k_fates{0x0602};
inline constexpr Method k_confirm{0x0603};
}  // namespace heal_method

struct HealStatus {
    // A chunk that n corelets miss a fragment of counts 5040 / n at each of them, so that the sum over the mesh,
    // divided by 5040, counts chunks (5040 has all divisors to 10).
    static constexpr u64 k_whole_chunk = 5040;
    u64 chunk_shares = 0;
    u64 fragments_missing = 0;  // here: not there, or damaged
    u64 bytes_left = 0;         // of these
    u64 bytes_done = 0;         // since this corelet started
    u64 fragments_rebuilt = 0;
    u64 damaged = 0;         // here, and found bad by a reader or by scrubbing
    u64 strays = 0;          // held outside their slot's members
    u64 strays_dropped = 0;  // confirmed elsewhere
    u64 dead_dropped = 0;    // proven dead by the owner of their space
    u64 scrubbed_bytes = 0;
    Duration eta{};  // by the rate of the last half minute, or a guess while nothing is rebuilt yet; zero: nothing
                     // is left
    bool paused = false;
};

// What the owner of a space says of some of its chunks. Of those it does not name it says that they live.
struct ChunkFates {
    std::set<u64> dead;     // proven (protocols 8.2, 8.3)
    std::set<u64> pending;  // being put, or still a segment of the log: not to be healed yet
};

// Chunks of which a fragment is missing here, and who has one: one entry for all with the same holders.
struct DegradedChunks {
    PoolId pool;
    std::vector<CoreletId> holders;  // one for each other fragment, ascending
    u64 chunks = 0;
};

// What the healer asks of the node.
class HealPort {
  public:
    virtual ~HealPort() = default;
    // This corelet serves all its slots of the pool's table: to be committed (mesh::SlotsClean).
    [[nodiscard]] virtual Task<Result<void>> report_clean(PoolId pool, MapEpoch table_epoch, u64 table_hash) = 0;
    // Asked of the owner of the space. An error (no owner, no answer) proves nothing: the chunks count as live.
    [[nodiscard]] virtual Task<Result<ChunkFates>> fates(SpaceId space, std::vector<u64> seqs) = 0;
    // Everybody who is up was asked what this corelet should have of the pool, beginning under this map.
    virtual void compared(PoolId /*pool*/, MapEpoch /*epoch*/) {}
    // Proven by a linearizable read: the space was deleted (protocols 8.3).
    [[nodiscard]] virtual Task<Result<bool>> is_space_deleted(SpaceId space) = 0;
    // The numbers of all segments that the stream of the space lists, by a linearizable read.
    [[nodiscard]] virtual Task<Result<std::set<u64>>> listed_segments(SpaceId space) = 0;
};

class Healer {
  public:
    struct Options {
        Duration round_every = 5_s;
        usize rebuilds_at_once = 4;
        u64 rebuild_memory = 64 * k_mib;  // of fragments being rebuilt; one goes on in any case
        u64 bytes_per_second = 0;         // rebuilt at most; 0: only class scheduling limits
        u64 scrub_bytes_per_second = 1 * k_mib;
        usize garbage_batch = 2048;  // fragments whose life is asked for, a round
        usize chunks_a_reply = 2048;
        usize chunks_a_round = 65'536;  // missing ones taken in at once
    };
    Healer(Env& env, Store& store, RpcNode& rpc, mesh::MapSource& maps, MeshChunks& chunks,
           FragmentServer& fragments, const SpaceDirectory& spaces, HealPort& port, Options options);
    ~Healer();
    Healer(const Healer&) = delete;
    Healer& operator=(const Healer&) = delete;
    // The map changed, or something was found missing.
    void wake() { wanted_.notify_one(); }
    void pause(bool paused);
    [[nodiscard]] HealStatus status() const;
    // As of the last round, less what was rebuilt since; those with the fewest holders first, at most `limit`.
    [[nodiscard]] std::vector<DegradedChunks> degraded(usize limit) const;
    [[nodiscard]] const Inventory& inventory() const { return inventory_; }

  private:
    using MapPtr = std::shared_ptr<const mesh::Map>;
    // What others have of a chunk: positions that anybody has, positions that their current members have, length of
    // a fragment.
    struct Seen {
        u32 anywhere = 0, at_home = 0, blocks = 0;
        std::vector<CoreletId> holders;  // for each position that anybody has, the first who says so
    };
    struct Known {
        std::map<ChunkId, Seen> chunks;
        bool complete = true;  // everybody who counts has answered, in full, and nothing is under way there
        bool all_up = true;    // the same of those who are up
    };
    struct Missing {
        FragmentId fragment;
        u32 blocks = 0;
        u8 survivors = 0;
        u8 holes = 1;  // places of the chunk that miss theirs
        std::vector<CoreletId> holders;
        [[nodiscard]] u64 bytes() const { return u64{blocks} * k_block_bytes; }
    };

    // healer.cc
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<bool> round();  // true: nothing is missing and everybody was asked
    [[nodiscard]] Task<bool> heal_pool(MapPtr map, PoolId pool);
    [[nodiscard]] Task<void> report_clean(MapPtr map, PoolId pool);
    void damaged(const FragmentId& id);
    void fragment_changed(const FragmentId& id, bool here);

    // heal_compare.cc
    [[nodiscard]] Task<void> ask_members(MapPtr map, PoolId pool, std::shared_ptr<Known> known);
    [[nodiscard]] Task<void> ask(CoreletId peer, pb::CompareInventory question, MapPtr map, PoolId pool,
                                 std::shared_ptr<Known> known);
    [[nodiscard]] Task<Result<Reply>> on_compare(Request request);

    // heal_rebuild.cc
    [[nodiscard]] std::vector<Missing> find_missing(const mesh::Map& map, const mesh::Pool& pool,
                                                    const Known& known) const;
    [[nodiscard]] Task<std::vector<Missing>> without_dead(std::vector<Missing> missing);
    [[nodiscard]] Task<bool> rebuild_all(PoolId pool, mesh::TablePtr table, std::vector<Missing> missing);
    [[nodiscard]] Task<void> rebuild(PoolId pool, mesh::TablePtr table, Missing missing, u64 memory, usize* failed,
                                     bool* hopeless);
    [[nodiscard]] Task<Result<void>> rebuild_one(PoolId pool, mesh::TablePtr table, Missing missing);
    [[nodiscard]] bool still_wanted(PoolId pool, const mesh::SlotTable& table) const;

    // heal_strays.cc
    [[nodiscard]] Task<void> hand_on(MapPtr map, PoolId pool);
    [[nodiscard]] Task<void> hand_to(MapPtr map, PoolId pool, CoreletId member, std::vector<FragmentId> strays);
    [[nodiscard]] Task<std::set<usize>> kept_for_the_log(const std::vector<FragmentId>* strays,
                                                         const std::set<usize>* confirmed);
    [[nodiscard]] Task<Result<std::set<usize>>> confirmed_by(MapPtr map, PoolId pool, CoreletId member,
                                                             const std::vector<FragmentId>* strays);
    [[nodiscard]] Task<Result<void>> offer(MapPtr map, PoolId pool, CoreletId member, FragmentId stray);
    [[nodiscard]] Task<Result<Reply>> on_confirm(Request request);

    // heal_sweep.cc
    [[nodiscard]] Task<void> drop_deleted_spaces();
    [[nodiscard]] Task<void> drop_space(SpaceId space);
    [[nodiscard]] Task<void> drop_dead();
    [[nodiscard]] Task<void> scrub();
    [[nodiscard]] Task<void> remove(FragmentId id);

    Env& env_;
    Store& store_;
    RpcNode& rpc_;
    mesh::MapSource& maps_;
    MeshChunks& chunks_;
    FragmentServer& fragments_;
    const SpaceDirectory& spaces_;
    HealPort& port_;
    Options options_;
    Inventory inventory_;
    HealStatus status_;
    struct Left {
        u64 shares = 0, fragments = 0, bytes = 0;
        void take(const Missing& missing);
    };
    std::map<PoolId, Left> left_;
    std::map<PoolId, std::map<std::vector<CoreletId>, u64>> degraded_;  // by pool and holders: so many chunks
    RateMeter rate_;
    Semaphore slots_;
    Semaphore memory_;
    Notify wanted_;
    std::set<FragmentId> damaged_;   // here, and do not verify
    std::set<FragmentId> removing_;  // on their way out: not to be counted on by anybody
    std::optional<FragmentId> swept_, scrubbed_;
    Instant scrubbed_at_{};
    Scope scope_;
};

}  // namespace corelet
