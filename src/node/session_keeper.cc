#include "node/session_keeper.h"

#include "node/node.pb.h"
#include "stream/stream_record.h"

namespace corelet {

std::string identity_key(CoreletId id) {
    return "corelets/" + to_string(id);
}

SessionKeeper::SessionKeeper(Env& env, Catalog& catalog, Store& store, const NodeConfig& config,
                             std::function<void(std::string)> forgotten)
    : env_(env),
      catalog_(catalog),
      store_(store),
      config_(config),
      forgotten_(std::move(forgotten)),
      scope_(env.executor) {
    scope_.spawn(run());
}

Task<void> SessionKeeper::run() {
    u64 renewals = 0;
    while (!store_.has_forgotten()) {
        if (session_.is_zero()) {
            auto const opened = co_await record_and_open();
            if (!opened) {
                log_info(env_.log, "session.not_opened", opened.error().to_string());
                co_await env_.clock.sleep(300_ms);
                continue;
            }
            first_.set();
        }
        co_await env_.clock.sleep(config_.session_renewal);
        if (session_.is_zero()) continue;
        Renewal const renewal{session_, ++renewals_sent_};
        auto const renewed = co_await catalog_.renew_lease(session_, env_.clock.now() + config_.session_ttl);
        if (!renewed && renewed.error().code == Code::kNotFound) {
            log_warning(env_.log, "session.lost", "the catalog ended this corelet's session; opening another");
            session_ = {};
        }
        if (!renewed) continue;
        renewed_ = renewal;
        if (++renewals % 8 == 0 && store_.durable_seq() != recorded_sequence_) (void)co_await carry_sequence_on();
    }
}

// The record must be lower than the own incarnation, or equal with the own nonce, and its number not above what the
// device had when that life ended. Recording ends the former incarnation's sessions.
Task<Result<void>> SessionKeeper::record_and_open() {
    Instant const deadline = env_.clock.now() + 5_s;
    Incarnation const life = store_.incarnation();
    std::string const key = identity_key(store_.identity());
    CO_TRY(auto found, co_await catalog_.get(key, deadline));
    pb::IdentityRecord record;
    if (found && !record.ParseFromString(found->value))
        co_return fail(Code::kCorrupt, "the catalog's record of this corelet does not parse");
    if (store_.incarnation() != life) co_return fail(Code::kConflict, "the incarnation was raised meanwhile");
    bool const later = record.incarnation() > life.v;
    bool const same = record.incarnation() == life.v;
    bool const other = same && record.nonce() != store_.boot_nonce();
    u64 const had = same ? store_.durable_seq() : store_.began_seq();
    if (found && (later || other || record.durable_sequence() > had)) {
        std::string const reason = other ? "the catalog knows another body of this incarnation"
                                         : "the catalog has seen incarnation " +
                                               std::to_string(record.incarnation()) + " with sequence " +
                                               std::to_string(record.durable_sequence()) + ", the device has " +
                                               std::to_string(life.v) + " with " + std::to_string(had);
        forgotten_(reason);
        co_return fail(Code::kForgotten, reason);
    }
    record.set_incarnation(life.v);
    record.set_nonce(store_.boot_nonce());
    record.set_durable_sequence(store_.durable_seq());
    record.set_began_sequence(store_.began_seq());
    CO_TRY(LeaseId lease, co_await catalog_.grant_lease(config_.session_ttl, deadline));
    Transaction transaction;
    transaction.require_revision(key, found ? found->mod_revision : Revision{})
        .put(key, record.SerializeAsString())
        .remove(session_key(store_.identity()))
        .put(session_key(store_.identity()), std::to_string(life.v), lease);
    CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
    if (!result.succeeded) co_return fail(Code::kConflict, "the identity's record changed meanwhile");
    if (store_.incarnation() != life) co_return fail(Code::kConflict, "the incarnation was raised meanwhile");
    recorded_sequence_ = record.durable_sequence();
    session_ = lease;
    co_return {};
}

Task<Result<void>> SessionKeeper::carry_sequence_on() {
    Instant const deadline = env_.clock.now() + 2_s;
    std::string const key = identity_key(store_.identity());
    CO_TRY(auto found, co_await catalog_.get(key, deadline));
    pb::IdentityRecord record;
    if (!found || !record.ParseFromString(found->value) || record.nonce() != store_.boot_nonce())
        co_return fail(Code::kConflict, "another body of this identity is recorded");
    // A number of the present life on the record of the former one is what a rolled-back device looks like.
    if (record.incarnation() != store_.incarnation().v)
        co_return fail(Code::kConflict, "the incarnation was raised meanwhile");
    u64 const sequence = store_.durable_seq();
    record.set_durable_sequence(sequence);
    Transaction transaction;
    transaction.require_revision(key, found->mod_revision).put(key, record.SerializeAsString());
    CO_TRY(auto result, co_await catalog_.commit(std::move(transaction), deadline));
    if (result.succeeded) recorded_sequence_ = sequence;
    co_return {};
}

Task<void> SessionKeeper::end() {
    scope_.cancel();
    if (session_.is_zero()) co_return;
    (void)co_await catalog_.revoke_lease(std::exchange(session_, {}), env_.clock.now() + 1_s);
}

}  // namespace corelet
