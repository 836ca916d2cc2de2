// A link that goes through a third: back to the direct way as soon as there is one, without a call lost.
#include "rt/combine.h"
#include "wire/link.h"
#include "wire/node.h"

namespace corelet {

namespace {
// So long calls may wait for those under way, before they go the old way after all.
constexpr Duration k_drain_within = 50_ms;
}  // namespace

Task<void> Link::seek_direct() {
    CORELET_ASSERT(!context_.via.is_zero());
    for (;;) {
        co_await node_.env.clock.sleep(node_.options.limits.seek_direct);
        bool const answers = co_await answers_directly();
        if (!answers) continue;
        bool const drained = co_await drain();
        if (!drained) continue;
        direct_first_ = true;
        break_off(Error{Code::kClosed, false, 0, "it answers directly again"});
        co_return;
    }
}

Task<bool> Link::answers_directly() {
    std::vector<Address> const addresses = node_.addresses_of(target_);
    for (const Address& address : addresses) {
        auto const connection = co_await with_timeout<std::unique_ptr<Connection>>(
            node_.env.clock, node_.options.limits.connect_timeout, node_.connect(address));
        if (connection) co_return true;
    }
    co_return false;
}

// Holds further calls back until none is under way. Holds them no longer if that takes too long; else until the
// connection is broken off.
Task<bool> Link::drain() {
    holding_ = true;
    Instant const until = node_.now() + k_drain_within;
    while (!is_drained() && node_.now() < until) co_await drained_.wait_until(node_.env.clock, until);
    if (is_drained()) co_return true;
    holding_ = false;
    work_.notify_one();
    co_return false;
}

void Link::doubt_direct() {
    if (state_ == State::kUp && context_.via.is_zero()) ask_for_a_sign();
}

}  // namespace corelet
