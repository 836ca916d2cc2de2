#include "catalog/memory_catalog.h"

namespace corelet {

Result<TransactionResult> to_transaction_result(const pb::CatalogResult& result) {
    if (result.code() != 0) return fail(static_cast<Code>(result.code()), result.message());
    TransactionResult out;
    out.succeeded = result.succeeded();
    out.revision = Revision(result.revision());
    for (const auto& item : result.values()) out.values.push_back(decode_item(item));
    return out;
}

void MemoryCatalog::expire() {
    pb::CatalogCommand command;
    for (auto const& [lease, when] : expiry_)
        if (when <= clock_.now()) command.add_end_leases(lease.v);
    if (command.end_leases_size() == 0) return;
    for (u64 lease : command.end_leases()) expiry_.erase(LeaseId(lease));
    (void)state_.apply(as_bytes(command.SerializeAsString()));
    hub_.changed();
}

Task<Result<pb::CatalogResult>> MemoryCatalog::run(pb::CatalogCommand command, Instant deadline) {
    while (!available_) {
        if (clock_.now() >= deadline) co_return fail(Code::kUnavailable, "the catalog has no quorum");
        co_await clock_.sleep(10_ms);
    }
    co_await yield();
    expire();
    auto result = state_.apply(as_bytes(command.SerializeAsString()));
    hub_.changed();
    co_return result;
}

Task<Result<TransactionResult>> MemoryCatalog::commit(Transaction transaction, Instant deadline) {
    CO_TRY_VOID(check_transaction(transaction));
    pb::CatalogCommand command;
    encode_transaction(transaction, *command.mutable_transaction());
    CO_TRY(auto result, co_await run(std::move(command), deadline));
    co_return to_transaction_result(result);
}

Task<Result<RangeResult>> MemoryCatalog::range(std::string prefix, Instant deadline) {
    CO_TRY_VOID(co_await run({}, deadline));
    co_return state_.range(prefix);
}

Task<Result<LeaseId>> MemoryCatalog::grant_lease(Duration ttl, Instant deadline) {
    pb::CatalogCommand command;
    command.set_grant_lease_ttl_ns(static_cast<u64>(ttl.ns));
    CO_TRY(auto result, co_await run(std::move(command), deadline));
    if (result.code() != 0) co_return fail(static_cast<Code>(result.code()), result.message());
    LeaseId const lease(result.lease());
    expiry_[lease] = clock_.now() + ttl;
    co_return lease;
}

Task<Result<void>> MemoryCatalog::renew_lease(LeaseId lease, Instant deadline) {
    CO_TRY_VOID(co_await run({}, deadline));
    auto const found = state_.leases().find(lease);
    if (found == state_.leases().end()) co_return fail(Code::kNotFound, "the lease has ended");
    expiry_[lease] = clock_.now() + found->second.ttl;
    co_return {};
}

Task<Result<void>> MemoryCatalog::revoke_lease(LeaseId lease, Instant deadline) {
    pb::CatalogCommand command;
    command.add_end_leases(lease.v);
    CO_TRY_VOID(co_await run(std::move(command), deadline));
    expiry_.erase(lease);
    co_return {};
}

}  // namespace corelet
