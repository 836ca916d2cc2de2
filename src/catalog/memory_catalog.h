// The catalog of one process, without consensus and without durability: for tests of what stands on a catalog.
// Leases end when told to, or by the clock.
#pragma once

#include "catalog/watch_hub.h"

namespace corelet {

class MemoryCatalog : public Catalog {
  public:
    explicit MemoryCatalog(Clock& clock) : clock_(clock) {}
    [[nodiscard]] Task<Result<TransactionResult>> commit(Transaction transaction, Instant deadline) override;
    [[nodiscard]] Task<Result<RangeResult>> range(std::string prefix, Instant deadline) override;
    [[nodiscard]] const CatalogState& local() const override { return state_; }
    [[nodiscard]] std::unique_ptr<Watch> watch(std::string prefix, Revision from) override {
        return hub_.watch(std::move(prefix), from);
    }
    [[nodiscard]] Task<Result<LeaseId>> grant_lease(Duration ttl, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> renew_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] Task<Result<void>> revoke_lease(LeaseId lease, Instant deadline) override;
    [[nodiscard]] bool is_available() const override { return available_; }
    // Without quorum every call waits for its deadline and fails.
    void set_available(bool available) { available_ = available; }
    [[nodiscard]] const CatalogState& state() const { return state_; }

  private:
    [[nodiscard]] Task<Result<pb::CatalogResult>> run(pb::CatalogCommand command, Instant deadline);
    void expire();
    Clock& clock_;
    CatalogState state_;
    WatchHub hub_{state_};
    std::map<LeaseId, Instant> expiry_;
    bool available_ = true;
};

// A result of the state machine as callers see it.
[[nodiscard]] Result<TransactionResult> to_transaction_result(const pb::CatalogResult& result);

}  // namespace corelet
