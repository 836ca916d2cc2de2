// The parts of a corelet, in the order in which they lean on each other.
#pragma once

#include "catalog/raft_catalog.h"
#include "heal/healer.h"
#include "node/audit_record.h"
#include "node/config.h"
#include "node/detours.h"
#include "node/door_keeper.h"
#include "node/gossip.h"
#include "node/heal_pacer.h"
#include "node/healing_pause.h"
#include "node/holdings_proof.h"
#include "node/map_keeper.h"
#include "node/node_methods.h"
#include "node/volume_host.h"
#include "stream/segment_sweeper.h"

namespace corelet {

inline constexpr const char* k_voters_note = "voters";  // on the device: who voted when last heard of

// Streams and deleted spaces, as the local view of the catalog has them.
class CatalogSpaces final : public SpaceDirectory {
  public:
    explicit CatalogSpaces(const Catalog& catalog) : catalog_(catalog) {}
    [[nodiscard]] std::optional<PoolId> pool_of(SpaceId space) const override;
    [[nodiscard]] bool seems_deleted(SpaceId space) const override;
    [[nodiscard]] u64 version() const override;

  private:
    const Catalog& catalog_;
    mutable Revision cached_at_;
    mutable u64 version_ = 0;
    mutable std::map<SpaceId, PoolId> pools_;
    mutable std::set<SpaceId> deleted_;
    mutable ParsedRecords<pb::Stream> streams_;
    void refresh() const;
};

// What others said of themselves last (mesh_view.cc).
struct ReportMemory;
[[nodiscard]] std::shared_ptr<ReportMemory> make_report_memory();

class HealthService;

class NodeServices final : public HealPort, public DeleteAuthority, public PeerEvents {
  public:
    NodeServices(Env& env, NodeConfig config, std::unique_ptr<Store> store);
    ~NodeServices() override;
    [[nodiscard]] Task<Result<void>> start();
    [[nodiscard]] Task<void> shut_down(Duration limit);

    [[nodiscard]] Task<Result<void>> report_clean(PoolId pool, MapEpoch table_epoch, u64 table_hash) override;
    void compared(PoolId pool, MapEpoch epoch) override { proof.compared(pool, epoch); }
    [[nodiscard]] Task<Result<bool>> is_space_deleted(SpaceId space) override;
    [[nodiscard]] Task<Result<std::set<u64>>> listed_segments(SpaceId space) override;
    [[nodiscard]] Task<Result<ChunkFates>> fates(SpaceId space, std::vector<u64> seqs) override;
    void audit_failed(CoreletId holder, FragmentId fragment, std::string why) override;
    [[nodiscard]] Task<Result<void>> may_delete(SpaceId space, Epoch epoch, CoreletId asker, PoolId pool) override;
    // A refusal may tell that this life of the identity is over, or that promises were forgotten.
    void peer_unreachable(CoreletId peer, const Error& error) override;
    // Each frame shows its sender's epoch.
    void peer_map_epoch(CoreletId peer, MapEpoch theirs) override {
        if (maps) maps->heard_of(theirs, peer);
    }

    Env& env;
    NodeConfig config;
    std::unique_ptr<Store> store;
    std::unique_ptr<PeerPolicy> policy;
    std::unique_ptr<RpcNode> rpc;
    std::unique_ptr<RaftNode> raft;  // none, where the catalog stands outside the mesh
    std::unique_ptr<Catalog> catalog;
    std::unique_ptr<CatalogSpaces> spaces;
    std::unique_ptr<MapService> maps;
    std::unique_ptr<Gossip> gossip;
    std::unique_ptr<Detours> detours;
    std::unique_ptr<MapLogPlacement> placement;
    std::unique_ptr<HealthService> health;  // watches requests of what follows: goes after it
    std::unique_ptr<FragmentServer> fragments;
    std::unique_ptr<MeshChunks> chunks;
    std::unique_ptr<ReplicaServer> replica_server;
    std::unique_ptr<SegmentSweeper> sweeper;
    std::unique_ptr<RpcReplicaPort> replica_port;
    std::unique_ptr<Healer> healer;
    std::unique_ptr<SessionKeeper> session;
    std::unique_ptr<MapKeeper> keeper;
    std::unique_ptr<VolumeHost> volumes;
    std::unique_ptr<DoorKeeper> doors;
    std::unique_ptr<HealPacer> pacer;  // where there is a healer
    AuditRecord audit_record;
    HoldingsProof proof;
    std::shared_ptr<ReportMemory> reports = make_report_memory();
    std::vector<Address> listening;
    // Healing stands still everywhere, by the catalog's word as last heard here.
    [[nodiscard]] bool healing_paused() const { return paused_until_.has_value(); }
    [[nodiscard]] std::optional<WallTime> paused_until() const { return paused_until_; }
    std::string own_trouble;  // why this corelet no longer takes part; empty: it does

  private:
    // node_catalog.cc
    [[nodiscard]] Task<Result<void>> start_catalog();
    void hint_voters(std::vector<CoreletId> voters);
    void vote_no_more(raft::Bar reason);
    void start_gossip();
    void start_health();
    void follow_map();
    void register_handlers();
    void forgotten(std::string reason);
    [[nodiscard]] Task<void> mark_forgotten(std::string reason);
    void map_changed();
    [[nodiscard]] Result<void> may_keep_segments() const;
    [[nodiscard]] Task<Result<void>> may_delete_anything();
    void life_is_over(std::string reason);
    [[nodiscard]] Task<void> renew_life(std::string reason);
    [[nodiscard]] Task<void> watch_identities();
    [[nodiscard]] std::optional<mesh::PeerMemory> recorded_life(CoreletId id) const;
    void look_at_records();
    void look_at_pause();
    [[nodiscard]] Task<void> look_whether_removed();
    void look_at_bodies();
    [[nodiscard]] Task<void> enter_mesh();
    [[nodiscard]] Task<Result<void>> introduce_self();
    [[nodiscard]] Task<Result<void>> ask_seed(Address seed);
    [[nodiscard]] std::optional<Address> next_seed(usize& turn) const;
    [[nodiscard]] Task<void> remember_voters();
    [[nodiscard]] Task<void> watch_device();
    [[nodiscard]] Task<Result<Reply>> on_introduce(Request request);
    [[nodiscard]] Task<Result<Reply>> on_admin(Request request);
    [[nodiscard]] Task<Result<Reply>> on_fates(Request request);
    // Owners of spaces as the catalog confirmed them.
    struct ProvenOwner {
        Epoch epoch;
        CoreletId owner;
        PoolId pool;
        friend bool operator==(const ProvenOwner&, const ProvenOwner&) = default;
    };
    std::map<SpaceId, ProvenOwner> proven_owners_;
    RaftCatalog* own_catalog_ = nullptr;  // `catalog`, where the mesh keeps it itself
    Incarnation over_;                    // the last that was refused
    bool renewing_ = false;
    std::optional<Instant> other_body_seen_;
    PauseClock pause_clock_;
    std::optional<WallTime> paused_until_;
    std::set<CoreletId> out_;  // in the last map
    Scope scope_;
};

// admin.cc
// Who may give which command: kDenied with what to do instead.
// The key of the mesh, as it was presented by whoever the kernel does not vouch for; false where there is none.
[[nodiscard]] bool is_admin_key(const NodeConfig& config, std::string_view key);
[[nodiscard]] Result<void> admit_command(const NodeConfig& config, const Request& request,
                                         const pb::AdminRequest& message);
[[nodiscard]] Task<Result<std::string>> run_command(NodeServices& node, std::string name, std::string arguments);

}  // namespace corelet
