#include "catalog/etcd/lease_keeper.h"

#include "catalog/etcd/paths.h"

namespace corelet::etcd {

namespace {
constexpr usize k_tries_in_a_row = 3;

bool same(const Header& a, const Header& b) {
    return a.member == b.member && a.term == b.term && a.member != 0;
}
}  // namespace

Task<Result<LeaseId>> LeaseKeeper::grant(Duration ttl, Instant deadline) {
    LeaseId lease;
    for (;;) {
        // Of our own choice, so that a repeat finds it; etcd counts them in signed numbers.
        if (lease.is_zero()) lease = LeaseId((env_.random.next() >> 1) | 1);
        auto const tried = co_await client_.try_once(std::string(k_grant_path), encode_grant(lease, ttl), deadline);
        auto const granted = tried.answer ? decode_header(*tried.answer) : std::unexpected(tried.answer.error());
        if (granted) co_return lease;
        if (granted.error().code == Code::kExists) {
            // Ours, from a try whose answer was lost. Its time may have begun then: it is given all of it now.
            auto const renewed = co_await renew(lease, deadline);
            if (renewed) co_return lease;
            if (renewed.error().code != Code::kNotFound) co_return std::unexpected(renewed.error());
            lease = {};
        } else if (is_refusal(granted.error())) {
            co_return std::unexpected(granted.error());
        }
        if (env_.clock.now() >= deadline) co_return std::unexpected(granted.error());
        co_await client_.pause();
    }
}

Task<Result<void>> LeaseKeeper::revoke(LeaseId lease, Instant deadline) {
    for (;;) {
        auto const tried = co_await client_.try_once(std::string(k_revoke_path), encode_lease(lease), deadline);
        auto const revoked = tried.answer ? decode_header(*tried.answer) : std::unexpected(tried.answer.error());
        if (revoked || revoked.error().code == Code::kNotFound) co_return {};
        if (is_refusal(revoked.error()) || env_.clock.now() >= deadline) co_return std::unexpected(revoked.error());
        co_await client_.pause();
    }
}

Task<Result<void>> LeaseKeeper::renew(LeaseId lease, Instant deadline) {
    Permit const turn = co_await turn_.lock();
    Error last{Code::kUnavailable, false, 0, "no member of etcd could prove that the lease is renewed"};
    for (usize tries = 1;; ++tries) {
        auto const renewal = co_await renew_once(lease, deadline);
        if (renewal && *renewal == Renewal::kRenewed) co_return {};
        if (renewal && *renewal == Renewal::kGone)
            co_return fail(Code::kNotFound, "lease " + std::to_string(lease.v) + " has ended");
        if (!renewal) {
            connection_.reset();
            last = renewal.error();
            if (is_refusal(last)) co_return std::unexpected(last);
            if (connected_turn_ == client_.turn()) client_.give_up_endpoint();
        }
        if (env_.clock.now() >= deadline) co_return std::unexpected(last);
        if (!renewal || tries % k_tries_in_a_row == 0) co_await client_.pause();
        if (env_.clock.now() >= deadline) co_return std::unexpected(last);
    }
}

Task<Result<Header>> LeaseKeeper::confirm(Instant deadline) {
    CO_TRY(auto answer,
           co_await client_.post(connection_.get(), std::string(k_range_path), encode_probe(keys_), deadline));
    CO_TRY(auto const read, decode_range(keys_, answer));
    co_return read.header;
}

Task<Result<LeaseAnswer>> LeaseKeeper::keep_alive(LeaseId lease, Instant deadline) {
    CO_TRY(auto answer,
           co_await client_.post(connection_.get(), std::string(k_keep_alive_path), encode_lease(lease), deadline));
    co_return decode_lease(answer);
}

Task<Result<LeaseKeeper::Renewal>> LeaseKeeper::renew_once(LeaseId lease, Instant deadline) {
    if (!connection_ || !connection_->is_free() || connected_turn_ != client_.turn()) {
        last_ = {};
        CO_TRY(connection_, co_await client_.connect(deadline));
        connected_turn_ = client_.turn();
    }
    if (last_.member == 0) {
        CO_TRY(last_, co_await confirm(deadline));
    }
    Header const before = last_;
    CO_TRY(auto const kept, co_await keep_alive(lease, deadline));
    CO_TRY(last_, co_await confirm(deadline));
    if (!same(before, kept.header) || !same(before, last_)) co_return Renewal::kUnproven;
    if (kept.lives) co_return Renewal::kRenewed;
    // All that was granted before is applied by now.
    CO_TRY(auto const again, co_await keep_alive(lease, deadline));
    if (!again.lives) co_return Renewal::kGone;
    co_return Renewal::kUnproven;
}

}  // namespace corelet::etcd
