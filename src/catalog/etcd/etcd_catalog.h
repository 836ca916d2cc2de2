// The catalog behind an etcd that somebody runs already: the interface of catalog.h over etcd's JSON gateway.
//
// All corelets of a mesh use the same etcd, under a prefix that names the mesh. Reads and transactions are etcd's
// own linearizable ones; a transaction carries a slot as its request id (request_slots.h); a lease counts as
// renewed only when a quorum confirms whoever renewed it (lease_keeper.h). What local() shows is a mirror that
// follows a watch over the prefix, and watches are watches over the mirror, with its bounds.
//
// Narrower than our own engine in one thing: a transaction has at most some 126 parts. The bound on all bytes is
// checked here against the mirror, so several corelets that write at once may pass it by a transaction each.
#pragma once

#include "catalog/etcd/client.h"
#include "catalog/etcd/lease_keeper.h"
#include "catalog/etcd/request_slots.h"
#include "catalog/watch_hub.h"

namespace corelet {

class EtcdCatalog final : public Catalog {
  public:
    // `endpoints`: client addresses of the etcd's members. Everything outlives it.
    EtcdCatalog(Env& env, std::vector<Address> endpoints, MeshId mesh);

    [[nodiscard]] Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) override;
    [[nodiscard]] Task<Result<RangeResult>> range(std::string prefix, Instant deadline) override;
    [[nodiscard]] const CatalogState& local() const override { return mirror_; }
    [[nodiscard]] std::unique_ptr<Watch> watch(std::string prefix, Revision from) override;
    [[nodiscard]] Task<Result<LeaseId>> grant_lease(Duration ttl, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> renew_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> revoke_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] bool is_available() const override;

    [[nodiscard]] const std::vector<Address>& endpoints() const { return client_.endpoints(); }

  private:
    [[nodiscard]] Task<Result<TransactionResult>> read(Transaction transaction, Instant deadline);
    [[nodiscard]] Task<Result<TransactionResult>> write(Transaction transaction, std::vector<etcd::Effect> effects,
                                                        Instant deadline);
    // A transaction on its way.
    struct Writing {
        Transaction transaction;
        std::vector<etcd::Effect> effects;
        etcd::RequestSlots::Use& use;
        Instant deadline;
        bool tried = false;  // and whether it took effect is not known
    };
    using Step = Result<std::optional<TransactionResult>>;
    [[nodiscard]] Task<Step> advance(Writing* writing);
    [[nodiscard]] Task<Step> attempt(Writing* writing);
    [[nodiscard]] Task<Step> settle_slot(Writing* writing);
    [[nodiscard]] Task<Step> make_slot(Writing* writing);
    [[nodiscard]] Task<Result<void>> has_room(const Transaction* transaction, Instant deadline);
    [[nodiscard]] Task<void> see(Revision revision, Instant deadline);
    void heard() { last_contact_ = env_.clock.now(); }

    // etcd_mirror.cc
    [[nodiscard]] Task<void> mirror_loop();
    [[nodiscard]] Task<Result<void>> load();
    [[nodiscard]] Task<Result<void>> follow();
    [[nodiscard]] Result<void> learn(std::string_view line);
    [[nodiscard]] Task<void> probe_loop();

    Env& env_;
    etcd::KeySpace keys_;
    etcd::Client client_;
    etcd::LeaseKeeper leases_;
    etcd::RequestSlots slots_;
    CatalogState mirror_;
    WatchHub hub_{mirror_};
    bool loaded_ = false;
    Revision committed_;  // the last revision that this corelet knows to have made
    LeaseId slots_lease_;
    Instant last_contact_{-k_forever.ns};  // with a member that a quorum answered
    std::unique_ptr<etcd::HttpConnection> stream_;
    u64 stream_turn_ = 0;
    Scope scope_;
};

}  // namespace corelet
