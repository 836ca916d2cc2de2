#include "catalog/etcd/etcd_catalog.h"

#include "catalog/etcd/paths.h"

namespace corelet {

using namespace etcd;

namespace {
constexpr Duration k_contact_fresh = 3_s;
constexpr Duration k_see_patience = 500_ms;
constexpr Duration k_slots_ttl = 3600_s;

Error gave_up(const Error& last) {
    return Error{Code::kUnavailable, false, 0, "etcd does not answer (" + last.message + ")"};
}

Error unknown_outcome(const Error& last) {
    return Error{Code::kTimeout, false, 0, "whether the transaction happened is not known (" + last.message + ")"};
}

Result<TransactionAnswer> decoded(const KeySpace& keys, const Client::Try& tried) {
    if (!tried.answer) return std::unexpected(tried.answer.error());
    return decode_transaction(keys, *tried.answer);
}

// Leases are the caller's own, so one that is not there makes the request wrong, as it does elsewhere.
Error as_refusal(Error error) {
    if (error.code == Code::kNotFound) error.code = Code::kInvalid;
    return error;
}
}  // namespace

EtcdCatalog::EtcdCatalog(Env& env, std::vector<Address> endpoints, MeshId mesh)
    : env_(env),
      keys_(mesh),
      client_(env, std::move(endpoints)),
      leases_(env, client_, keys_),
      slots_(env.random.next()),
      scope_(env.executor) {
    scope_.spawn(mirror_loop());
    scope_.spawn(probe_loop());
}

std::unique_ptr<Watch> EtcdCatalog::watch(std::string prefix, Revision from) {
    return hub_.watch(std::move(prefix), from);
}

bool EtcdCatalog::is_available() const {
    return env_.clock.now() - last_contact_ < k_contact_fresh;
}

// --- reading
// --------------------------------------------------------------------------------------------------------------

Task<Result<RangeResult>> EtcdCatalog::range(std::string prefix, Instant deadline) {
    for (;;) {
        auto tried = co_await client_.try_once(std::string(k_range_path), encode_range(keys_, prefix), deadline);
        auto found = tried.answer ? decode_range(keys_, *tried.answer) : std::unexpected(tried.answer.error());
        if (found) {
            heard();
            co_return RangeResult{found->header.revision, std::move(found->items)};
        }
        if (is_refusal(found.error())) co_return std::unexpected(found.error());
        if (env_.clock.now() >= deadline) co_return std::unexpected(gave_up(found.error()));
        co_await client_.pause();
    }
}

Task<Result<TransactionResult>> EtcdCatalog::read(Transaction transaction, Instant deadline) {
    for (;;) {
        auto const tried = co_await client_.try_once(std::string(k_transaction_path),
                                                     encode_reading(keys_, transaction), deadline);
        auto answer = decoded(keys_, tried);
        if (answer) {
            heard();
            co_return TransactionResult{answer->succeeded, answer->header.revision, std::move(answer->values)};
        }
        if (is_refusal(answer.error())) co_return std::unexpected(answer.error());
        if (env_.clock.now() >= deadline) co_return std::unexpected(gave_up(answer.error()));
        co_await client_.pause();
    }
}

// --- writing
// --------------------------------------------------------------------------------------------------------------

Task<Result<TransactionResult>> EtcdCatalog::commit(Transaction transaction, Instant deadline) {
    CO_TRY_VOID(check_transaction(transaction));
    CO_TRY(auto effects, plan_effects(transaction));
    if (transaction.operations.empty()) co_return co_await read(std::move(transaction), deadline);
    CO_TRY_VOID(co_await has_room(&transaction, deadline));
    auto done = co_await write(std::move(transaction), std::move(effects), deadline);
    if (done) co_await see(done->revision, deadline);
    co_return done;
}

// Judged by the mirror, once it has what this corelet itself has done: what is deleted here makes room here.
Task<Result<void>> EtcdCatalog::has_room(const Transaction* transaction, Instant deadline) {
    if (mirror_.check_room(*transaction)) co_return {};
    co_await see(committed_, deadline);
    co_return mirror_.check_room(*transaction);
}

// What this corelet has done it also sees.
Task<void> EtcdCatalog::see(Revision revision, Instant deadline) {
    committed_ = std::max(committed_, revision);
    if (revision.is_zero()) co_return;
    co_await hub_.wait_beyond(Revision(revision.v - 1), env_.clock,
                              std::min(deadline, env_.clock.now() + k_see_patience));
}

Task<Result<TransactionResult>> EtcdCatalog::write(Transaction transaction, std::vector<Effect> effects,
                                                   Instant deadline) {
    RequestSlots::Loan const loan = co_await slots_.take();
    Writing writing{std::move(transaction), std::move(effects), *loan, deadline};
    for (;;) {
        auto step = co_await advance(&writing);
        if (step && *step) co_return **std::move(step);
        if (!step) {
            const Error& error = step.error();
            bool const final = is_refusal(error) || error.code == Code::kTimeout || env_.clock.now() >= deadline;
            if (final && writing.tried) co_return std::unexpected(unknown_outcome(error));
            if (is_refusal(error)) co_return std::unexpected(as_refusal(error));
            if (final) co_return std::unexpected(gave_up(error));
            co_await client_.pause();
        }
    }
}

// One request, whichever is due. Nothing: there is more to do.
Task<EtcdCatalog::Step> EtcdCatalog::advance(Writing* writing) {
    if (writing->use.unsettled) co_return co_await settle_slot(writing);
    if (writing->use.slot.revision.is_zero()) co_return co_await make_slot(writing);
    co_return co_await attempt(writing);
}

Task<EtcdCatalog::Step> EtcdCatalog::attempt(Writing* writing) {
    RequestSlots::Use& use = writing->use;
    std::string request = encode_attempt(keys_, use.slot, writing->transaction, writing->effects);
    // Also if this task is dropped at the next line.
    use.unsettled = writing->tried = true;
    auto const tried =
        co_await client_.try_once(std::string(k_transaction_path), std::move(request), writing->deadline);
    auto answer = decoded(keys_, tried);
    if (answer || is_refusal(answer.error()) || !tried.sent) use.unsettled = writing->tried = false;
    if (!answer) co_return std::unexpected(answer.error());
    heard();
    auto const concluded = conclude(use, *answer);
    if (concluded == Tried::kMoved) co_return std::nullopt;
    co_return TransactionResult{concluded == Tried::kDone, answer->header.revision, std::move(answer->values)};
}

Task<EtcdCatalog::Step> EtcdCatalog::settle_slot(Writing* writing) {
    RequestSlots::Use& use = writing->use;
    auto const tried =
        co_await client_.try_once(std::string(k_transaction_path),
                                  encode_settling(keys_, use.slot, writing->transaction.reads), writing->deadline);
    CO_TRY(auto answer, decoded(keys_, tried));
    heard();
    auto const settled = settle(use, answer);
    if (!writing->tried) co_return std::nullopt;  // it was another's
    if (settled == Settled::kGone) co_return fail(Code::kTimeout, "the request's slot has gone with its lease");
    writing->tried = settled == Settled::kDone;
    if (settled == Settled::kNoEffect) co_return std::nullopt;
    co_return TransactionResult{true, use.slot.revision, std::move(answer.values)};
}

Task<EtcdCatalog::Step> EtcdCatalog::make_slot(Writing* writing) {
    if (slots_lease_.is_zero()) {
        CO_TRY(LeaseId const granted, co_await leases_.grant(k_slots_ttl, writing->deadline));
        slots_lease_ = granted;
    }
    LeaseId const lease = slots_lease_;
    auto const tried = co_await client_.try_once(std::string(k_transaction_path),
                                                 encode_making(keys_, writing->use.slot, lease), writing->deadline);
    auto const answer = decoded(keys_, tried);
    if (!answer && answer.error().code == Code::kNotFound) {
        if (slots_lease_ == lease) slots_lease_ = {};
        co_return std::nullopt;  // the lease has ended: another
    }
    if (!answer) co_return std::unexpected(answer.error());
    heard();
    writing->use.slot.revision = answer->slot_revision;
    co_return std::nullopt;
}

// --- leases
// ---------------------------------------------------------------------------------------------------------------

Task<Result<LeaseId>> EtcdCatalog::grant_lease(Duration ttl, Instant deadline) {
    CO_TRY(LeaseId const lease, co_await leases_.grant(ttl, deadline));
    heard();
    co_return lease;
}

Task<Result<void>> EtcdCatalog::renew_lease(LeaseId lease, Instant deadline) {
    CO_TRY_VOID(co_await leases_.renew(lease, deadline));
    heard();
    co_return {};
}

Task<Result<void>> EtcdCatalog::revoke_lease(LeaseId lease, Instant deadline) {
    CO_TRY_VOID(co_await leases_.revoke(lease, deadline));
    heard();
    co_return {};
}

}  // namespace corelet
