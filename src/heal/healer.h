// Healing at one corelet, without a coordinator: for each slot it serves it compares inventories with the slot's
// current and former members, rebuilds what it should have and has not, or has damaged (fewest surviving fragments
// first), hands on what it holds and should not, and lets go of what is proven dead. One executor.
//
// Bounds: a few rebuilds at once within a bound of memory, answers of a bounded size, chunks missing in one round;
// beyond them it goes on in the next. All of it is asked for in the classes below clients'.
#pragma once

#include "chunk/degraded_chunks.h"
#include "chunk/fragment_server.h"
#include "chunk/mesh_chunks.h"
#include "heal/heal.pb.h"
#include "heal/inventory.h"
#include "heal/pace.h"
#include "heal/rate_meter.h"
#include "heal/room_watch.h"
#include "heal/scrub_schedule.h"

namespace corelet {

namespace heal_method {
inline constexpr Method k_compare{0x0601};
inline constexpr Method k_fates{0x0602};
inline constexpr Method k_confirm{0x0603};
inline constexpr Method k_word{0x0610};
inline constexpr Method k_audit{0x0611};
inline constexpr Method k_loads{0x0920};
inline constexpr Method k_look{0x0921};
inline constexpr Method k_mend{0x0922};
inline constexpr Method k_hand_on{0x0923};
inline constexpr Method k_mend_log{0x0924};
}  // namespace heal_method

// Who met a fragment that does not verify.
enum class FoundBy : u8 { kScrub, kRead, kAudit, kRebuild };

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
    u64 scrub_bytes_per_second = 0;
    u32 scrub_permille = 0;                    // of the present pass
    std::optional<WallTime> scrub_last_ended;  // the last full pass
    std::array<u64, 4> found_damaged{};        // by FoundBy, since this corelet started
    u64 repaired = 0;                          // of these
    u64 audits = 0;                            // of others, answered as it should be
    u64 audits_failed = 0;                     // it lacks the bytes, or has others, twice in a row
    u64 bytes_per_second = 0;                  // rebuilt lately
    u64 allowed_bytes_per_second = 0;          // 0: as fast as it goes
    PaceReason pace_reason = PaceReason::kFree;
    CoreletId pace_of;  // whose clients are given way to; zero: those here
    Duration eta{};  // by the rate of the last half minute, or a guess while nothing is rebuilt yet; zero: nothing
                     // is left
    bool paused = false;
    bool full = false;                  // what is left waits for room on this device
    u64 measured_bytes_per_second = 0;  // rebuilt, as last measured; 0: never yet
};

// What the owner of a space says of some of its chunks. Of those it does not name it says that they live.
struct ChunkFates {
    std::set<u64> dead;     // proven (protocols 8.2, 8.3)
    std::set<u64> pending;  // being put, or still a segment of the log: not to be healed yet
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
    // A member of a slot did not have the bytes that it should have, when it was asked twice.
    virtual void audit_failed(CoreletId /*holder*/, FragmentId /*fragment*/, std::string /*why*/) {}
};

class Healer {
  public:
    struct Options {
        Duration round_every = 5_s;
        usize rebuilds_at_once = 4;
        u64 rebuild_memory = 64 * k_mib;  // of fragments being rebuilt; one goes on in any case
        u64 bytes_per_second = 0;         // rebuilt at most; 0: as the pace says
        Pace::Options pace{};
        Duration scrub_pass = ScrubSchedule::Options{}.full_pass;  // at most
        u64 scrub_bytes_per_second = 1 * k_mib;                    // at least
        Duration audit_every{};                                    // of somebody, on average; zero: none
        usize garbage_batch = 2048;                                // fragments whose life is asked for, a round
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
    // Chunks of which a fragment is missing here: as of the last round, less what was rebuilt since. Those with the
    // fewest holders first, at most `limit`.
    [[nodiscard]] std::vector<DegradedChunks> degraded(usize limit) const;
    [[nodiscard]] const Inventory& inventory() const { return inventory_; }
    // For whoever knows what clients feel (node/heal_pacer.h).
    [[nodiscard]] Pace& pace() { return pace_; }
    [[nodiscard]] HealWords& words() { return words_; }
    [[nodiscard]] u64 bytes_left() const;

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
    void damaged(const FragmentId& id, FoundBy found_by);
    // Reads all of it; what is damaged is noted, and rebuilt in the next round.
    [[nodiscard]] Task<Result<void>> verify(FragmentId id, IoClass io, FoundBy found_by);
    [[nodiscard]] Task<Result<Reply>> on_word(Request request);
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
    struct Made {
        BufferChain data;
        std::vector<u32> crcs;
        u64 chunk_bytes = 0;
    };
    // All of a fragment, from others than `except`, in slices and no faster than the pace.
    [[nodiscard]] Task<Result<Made>> make_fragment(PoolId pool, FragmentId fragment, u64 bytes, CoreletId except);
    [[nodiscard]] Task<void> keep_pace(u64 bytes);
    [[nodiscard]] u64 free_bytes() const;  // that healing may take
    [[nodiscard]] bool still_wanted(PoolId pool, const mesh::SlotTable& table) const;

    // heal_order.cc: what somebody orders, rather than finds by itself
    [[nodiscard]] Task<Result<Reply>> on_loads(Request request);
    [[nodiscard]] Task<Result<Reply>> on_look(Request request);
    [[nodiscard]] Task<Result<Reply>> on_mend(Request request);
    [[nodiscard]] Task<Result<Reply>> on_hand_on(Request request);
    [[nodiscard]] Task<void> look_at(ChunkId chunk, bool verifying, pb::ChunkLook* look);
    [[nodiscard]] Task<void> mend(PoolId pool, mesh::TablePtr table, Missing missing, pb::MendChunksReply* reply,
                                  int index);

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
    [[nodiscard]] Task<void> scrub_on();
    [[nodiscard]] Task<void> scrub(Duration since);
    [[nodiscard]] Task<void> remove(FragmentId id);

    // heal_audit.cc
    struct Challenge {
        PoolId pool;
        MapEpoch table;
        CoreletId holder;
        FragmentId fragment;
        u64 fragment_bytes = 0, offset = 0, length = 0;
    };
    enum class Verdict : u8 { kPassed, kLacks, kLies, kOpen };
    [[nodiscard]] Task<void> audit_on();
    [[nodiscard]] std::optional<Challenge> draw_challenge();
    [[nodiscard]] std::optional<Challenge> challenge_in(const mesh::Map& map, const mesh::Pool& pool, u32 slot);
    [[nodiscard]] Task<void> audit(Challenge challenge);
    [[nodiscard]] Task<Verdict> examine(Challenge challenge);
    [[nodiscard]] bool still_holds(const Challenge& challenge) const;
    [[nodiscard]] Task<bool> is_alive(ChunkId chunk);
    [[nodiscard]] Task<Result<void>> repair_at(Challenge challenge);
    [[nodiscard]] Task<Result<Reply>> on_audit(Request request);

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
    RoomWatch room_;
    Semaphore slots_;
    Semaphore memory_;
    Notify wanted_;
    usize ordered_ = 0;  // repairs that somebody waits for: rounds stand back
    Notify orders_done_;
    std::set<FragmentId> damaged_;   // here, and do not verify
    std::set<FragmentId> removing_;  // on their way out: not to be counted on by anybody
    std::optional<FragmentId> swept_;
    Pace pace_;
    HealWords words_;
    ScrubSchedule scrub_;
    u64 scrub_credit_ = 0;    // bytes that may be read by now
    CoreletId suspect_;       // failed an audit: is asked again before others
    u32 suspect_audits_ = 0;  // so often
    Scope scope_;
};

}  // namespace corelet
