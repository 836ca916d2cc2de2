// The volumes that this corelet owns, and its candidacy for those that have lost their owner (design: who owns;
// protocols 3, 7.7).
#pragma once

#include <map>
#include <memory>

#include "catalog/parsed_records.h"
#include "chunk/mesh_chunks.h"
#include "gateway/nbd/server.h"
#include "heal/healer.h"
#include "node/log_placement.h"
#include "node/map_service.h"
#include "node/node.pb.h"
#include "node/request_times.h"
#include "node/session_keeper.h"
#include "stream/replica_server.h"
#include "stream/stream_recovery.h"
#include "volume/volume.h"

namespace corelet {

[[nodiscard]] std::string volume_key(std::string_view name);
[[nodiscard]] std::string deleted_space_key(SpaceId space);

class VolumeHost final : public PoolSpace {
  public:
    VolumeHost(Env& env, const NodeConfig& config, Catalog& catalog, ReplicaPort& replicas,
               MapLogPlacement& placement, MapService& maps, MeshChunks& chunks, SessionKeeper& session,
               CoreletId self);
    ~VolumeHost() override;

    struct Owned {
        StreamStatus stream;
        VolumeStats volume;
        std::string uri;           // empty while it has no export
        std::string export_error;  // why
        u64 connections = 0;
    };
    [[nodiscard]] std::map<std::string, Owned> owned() const;
    // Of a volume that is owned here.
    [[nodiscard]] std::optional<StreamStatus> stream_of(const std::string& name) const;
    // The volume, if it is served here: for whoever lives in the same process. Null otherwise.
    [[nodiscard]] std::shared_ptr<BlockDevice> device(const std::string& name) const;
    // The same volume without its door: for what clients do not do.
    [[nodiscard]] std::shared_ptr<Volume> volume(const std::string& name) const;
    // Names of the chunks that the volume's present state refers to, if it is served here; for judges.
    [[nodiscard]] std::vector<ChunkId> live_chunks(const std::string& name) const;
    // Whether the volume refers to it, is about to, or has it on its list of what to delete; of a chunk in another
    // space, or if the volume is not served here: nothing. For judges.
    [[nodiscard]] std::optional<bool> knows(const std::string& name, ChunkId chunk) const;
    // Whether a mark in the log has condemned it; of a chunk that no volume served here has: nothing. For judges.
    [[nodiscard]] std::optional<bool> has_condemned(ChunkId chunk) const;
    // Of requests to all volumes that are served here.
    [[nodiscard]] ClientTimes& client_times() { return *client_times_; }
    void corelet_lost(CoreletId corelet);
    // What is to become of chunks of a space that is served here: dead are those below the committed horizon that
    // nothing refers to; they are removed by and by. kNotOwner: of a space that is not served here, or not yet.
    struct Verdict {
        Epoch epoch;
        ChunkFates fates;
    };
    [[nodiscard]] Result<Verdict> fates(SpaceId space, std::vector<u64> seqs);
    // This corelet can serve nothing any more (its device failed, or has forgotten promises): every stream is given
    // up, none taken.
    [[nodiscard]] Task<void> retire();
    // Lets go of these segments of the log, of which copies are gone: rolls away, packs, replaces standbys.
    // kNotOwner: the volume is not served here. kTimeout: some are still listed.
    [[nodiscard]] Task<Result<void>> mend_log(std::string name, std::vector<u64> segments);
    void wake() { wanted_.notify_one(); }
    [[nodiscard]] u32 free_permille(PoolId pool) const override;
    [[nodiscard]] bool may_write(PoolId pool) const override;
    // What peers say of their space, as last asked (node_services.cc).
    void set_peer_space(CoreletId corelet, u64 free_bytes, u64 capacity_bytes) {
        peer_space_[corelet] = {free_bytes, capacity_bytes};
    }
    // Hands every volume over to whoever comes forward next; within the deadline.
    [[nodiscard]] Task<void> hand_over_all(Instant deadline);

  private:
    struct Serving;
    // What is given up here is another one's first: as after so many failed takes, the longest pause there is.
    static constexpr u32 k_failures_of_hopeless = 7;
    struct Candidacy {
        u64 epoch = 0;  // of the ownerless stream it is about
        Instant since;
        bool taking = false;
        u32 failures = 0;  // takes of it here, one soon after the other
        Instant failed_at{INT64_MIN / 2};
        // Others may have tried meanwhile: an old failure says nothing.
        [[nodiscard]] u32 failures_lately(Instant now) const { return now - failed_at < 10_s ? failures : 0; }
    };
    // Null where it is not owned here.
    [[nodiscard]] const Serving* serving_of(const std::string& name) const;
    // Null where clients cannot reach it here: not owned, not replayed yet, or on its way to another owner.
    [[nodiscard]] const Serving* served(const std::string& name) const;
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<void> follow(std::string prefix);
    void look_at(const pb::Volume& volume, const pb::Stream& stream);
    [[nodiscard]] usize taking() const;
    [[nodiscard]] std::optional<usize> rank(const pb::Volume& volume, const pb::Stream& stream) const;
    [[nodiscard]] bool has_session(CoreletId corelet) const;
    [[nodiscard]] bool must_let_go() const;
    [[nodiscard]] Task<void> take(std::string name, pb::Volume volume, bool caretaker);
    [[nodiscard]] Task<Result<void>> take_now(std::string name, pb::Volume volume, bool caretaker);
    // Export (volume_export.cc). The address may be refused or in use: then the volume is served to nobody until
    // another is named or that one is free, and the record says why.
    [[nodiscard]] Result<void> add_export(Serving& serving);
    void open_export(Serving& serving, const pb::Volume& volume);
    [[nodiscard]] Task<void> publish(std::string name, u64 attachment);
    [[nodiscard]] Task<void> release(std::string name, bool end_segments, Instant deadline);
    [[nodiscard]] Task<void> release_all(Instant deadline);
    // An ended segment of the log has lost a copy for good, or was listed narrow and need not stay so: what it
    // holds is packed, and the log let go of it.
    [[nodiscard]] bool lacks_a_copy(const pb::Stream& stream) const;
    [[nodiscard]] Task<void> secure(std::string name);
    [[nodiscard]] Task<void> bury(std::string name, std::vector<u64> dead);
    [[nodiscard]] Task<void> move_horizon(std::string name);
    void drop(const std::string& name);
    // Of a volume that is served here (volume_slow.cc): its log leaves slow devices, and so does its owner.
    [[nodiscard]] bool may_move_from_slow_device(const std::string& name) const;
    void leave_slow_devices(Serving& serving);

    Env& env_;
    const NodeConfig& config_;
    Catalog& catalog_;
    ReplicaPort& replicas_;
    MapLogPlacement& placement_;
    MapService& maps_;
    MeshChunks& chunks_;
    SessionKeeper& session_;
    CoreletId self_;
    std::shared_ptr<ClientTimes> client_times_ = std::make_shared<ClientTimes>();
    NbdServer nbd_;
    std::map<std::string, std::unique_ptr<Serving>> serving_;
    std::map<std::string, Candidacy> candidacies_;
    ParsedRecords<pb::Volume> volumes_;
    ParsedRecords<pb::Stream> streams_;
    std::map<CoreletId, std::pair<u64, u64>> peer_space_;  // free, capacity
    bool stopping_ = false;
    bool burying_ = false;
    bool retired_ = false;  // no candidate for anything
    Notify wanted_;
    Scope scope_;
};

}  // namespace corelet
