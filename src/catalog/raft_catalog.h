// The catalog on our own consensus core: the interface of catalog.h at every corelet, voter or not, and its service
// between corelets. Who holds the log serves; others keep a mirror by pulling, and ask the leader.
#pragma once

#include "catalog/memory_catalog.h"
#include "catalog/raft_node.h"

namespace corelet {

namespace catalog_method {
inline constexpr Method k_commit{0x0301};
inline constexpr Method k_range{0x0302};
inline constexpr Method k_renew{0x0303};
inline constexpr Method k_pull{0x0304};
}  // namespace catalog_method

class RaftCatalog final : public Catalog {
  public:
    // `raft` is null at a corelet without media. Everything outlives it.
    RaftCatalog(Env& env, RpcNode& rpc, RaftNode* raft);
    ~RaftCatalog() override;

    // Whom to ask when nothing is known yet: voters as the device remembers them, or as the one who let us in says.
    void set_voter_hints(std::vector<CoreletId> voters);
    // Who may know the voters when none of those that are known here answers any more: all of them may have been
    // replaced meanwhile.
    void set_acquaintances(std::function<std::vector<CoreletId>()> all) { acquaintances_ = std::move(all); }
    [[nodiscard]] std::vector<CoreletId> voters() const override;
    [[nodiscard]] CoreletId leader() const override;

    [[nodiscard]] Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) override;
    [[nodiscard]] Task<Result<RangeResult>> range(std::string prefix, Instant deadline) override;
    [[nodiscard]] const CatalogState& local() const override { return view(); }
    [[nodiscard]] std::unique_ptr<Watch> watch(std::string prefix, Revision from) override;
    [[nodiscard]] Task<Result<LeaseId>> grant_lease(Duration ttl, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> renew_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> revoke_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] bool is_available() const override;

  private:
    [[nodiscard]] bool holds_log() const {
        return raft_ && raft_->is_member() && !removed_ && !raft_->has_failed();
    }
    [[nodiscard]] bool in_contact() const;
    [[nodiscard]] std::vector<CoreletId> others_to_ask() const;
    [[nodiscard]] CoreletId next_to_follow(usize turn) const;
    [[nodiscard]] Task<void> look_whether_removed();
    [[nodiscard]] const CatalogState& view() const { return hub_.state(); }
    [[nodiscard]] pb::RequestId next_request();
    [[nodiscard]] Task<Result<pb::CatalogResult>> submit(pb::CatalogCommand command, Instant deadline);
    [[nodiscard]] Task<Result<Reply>> ask_leader(Method method, Buffer body, Instant deadline);
    [[nodiscard]] Task<Result<Reply>> ask(CoreletId whom, Method method, Buffer body, Instant deadline);
    [[nodiscard]] Task<Result<pb::CatalogResult>> propose_here(pb::CatalogCommand command, Instant deadline);

    [[nodiscard]] Task<Result<Reply>> on_commit(Request request);
    [[nodiscard]] Task<Result<Reply>> on_read(Transaction transaction, Instant deadline);
    [[nodiscard]] Task<Result<Reply>> on_range(Request request);
    [[nodiscard]] Task<Result<Reply>> on_renew(Request request);
    [[nodiscard]] Task<Result<Reply>> on_pull(Request request);
    [[nodiscard]] Task<Result<void>> renew_here(LeaseId lease, Instant deadline);

    [[nodiscard]] Task<void> mirror_loop();
    void postpone_expiry(Duration lost);
    [[nodiscard]] Task<void> expiry_loop();
    [[nodiscard]] Task<void> end_lapsed(std::vector<LeaseId> lapsed);
    void follow_log();
    void follow_mirror();
    [[nodiscard]] Task<bool> pull_from(CoreletId whom);
    [[nodiscard]] Task<void> relay_changes();
    [[nodiscard]] bool learn(const pb::CatalogPullReply& reply);

    Env& env_;
    RpcNode& rpc_;
    RaftNode* raft_;
    CatalogState mirror_;
    WatchHub hub_{mirror_};
    // Removed from the voters while it could not hear of it: nobody sends it the log any more, and it follows like
    // anybody else.
    bool removed_ = false;
    Instant leader_known_{};
    bool hub_on_log_ = false;
    std::vector<CoreletId> hints_;
    std::function<std::vector<CoreletId>()> acquaintances_;
    usize looked_ = 0;  // how often for another one's word
    CoreletId leader_hint_;
    Instant last_contact_{-k_forever.ns};  // with one that holds the log and knows a leader
    u64 client_;
    u64 next_number_ = 1;
    // Leader only: when each lease ends by this leader's clock. Refilled in full at each new leadership.
    std::map<LeaseId, Instant> expiry_;
    // Whose end is proposed in this term: from then on they are not renewed, whatever becomes of the proposal.
    std::set<LeaseId> ending_;
    raft::Term expiry_term_;
    Scope scope_;
};

}  // namespace corelet
