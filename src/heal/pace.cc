#include "heal/pace.h"

#include <algorithm>

namespace corelet {

namespace {
constexpr Duration k_ask_again = 1_s;
constexpr u64 k_ns_a_second = 1'000'000'000;
}  // namespace

void Pace::tick(u32 own, HealWords::Strain peers, bool working, Instant now) {
    bool const suffers = std::max(own, peers.permille) >= k_suffers;
    if (!working) {
        // The next work begins carefully: whether there are clients where it reads, and how much is too much for
        // them, is not known yet.
        adaptive_ = options_.floor * k_begin;
        doubling_ = true;
    } else if (suffers) {
        give_way(peers, own, now);
    } else {
        go_on(peers, own, now);
    }
    was_idle_ = !working;
    ticked_at_ = now;
    taken_ = 0;
}

// From what was in fact done: the rate that is allowed may be far above it.
void Pace::give_way(HealWords::Strain peers, u32 own, Instant now) {
    i64 const passed = std::max<i64>((now - ticked_at_).ns, 1'000'000);
    u64 const done = static_cast<u64>(static_cast<u128>(taken_) * k_ns_a_second / static_cast<u64>(passed));
    u64 const now_at = std::min(adaptive_.value_or(options_.ceiling), std::max(done, options_.floor));
    adaptive_ = std::max(options_.floor, now_at / 2);
    doubling_ = false;
    complained_at_ = now;
    whose_ = own >= peers.permille ? CoreletId{} : peers.from;
}

void Pace::go_on(HealWords::Strain peers, u32 own, Instant now) {
    bool const clients = own != 0 || peers.permille != 0;
    if (doubling_ || !adaptive_) whose_ = own != 0 ? CoreletId{} : peers.from;
    if (!adaptive_) {
        if (!clients) return;
        adaptive_ = options_.floor * k_begin;
        doubling_ = true;
        return;
    }
    if (!clients && now - complained_at_ >= k_calm) {
        adaptive_.reset();
        return;
    }
    // What is not used up says nothing about more.
    if (was_idle_ || taken_ < *adaptive_ / 2) return;
    adaptive_ = std::min(options_.ceiling, doubling_ ? *adaptive_ * 2 : *adaptive_ + options_.step);
}

u64 Pace::rate() const {
    u64 least = ~u64{0};
    if (adaptive_) least = *adaptive_;
    if (limits_.corelet != 0) least = std::min(least, limits_.corelet);
    if (limits_.mesh_share != 0) least = std::min(least, limits_.mesh_share);
    return least == ~u64{0} ? 0 : least;
}

PaceReason Pace::reason() const {
    u64 const now_at = rate();
    if (now_at == 0) return PaceReason::kFree;
    if (now_at == limits_.corelet) return PaceReason::kCoreletLimit;
    if (now_at == limits_.mesh_share) return PaceReason::kMeshLimit;
    return whose_.is_zero() ? PaceReason::kClients : PaceReason::kPeersClients;
}

void Pace::settle(Instant now) {
    u64 const passed = now > settled_at_ ? static_cast<u64>((now - settled_at_).ns) : 0;
    u64 const allowed = rate();
    u128 const paid = static_cast<u128>(passed) * allowed / k_ns_a_second;
    if (allowed == 0 || paid >= debt_) {
        debt_ = 0;
        settled_at_ = now;
        return;
    }
    // Only for the time that whole bytes were paid for, else who asks often never gets on at a low rate.
    debt_ -= static_cast<u64>(paid);
    settled_at_ = settled_at_ + Duration{static_cast<i64>(paid * k_ns_a_second / allowed)};
}

Duration Pace::take(u64 bytes, Instant now) {
    settle(now);
    if (debt_ == 0) {
        debt_ = bytes;
        taken_ += bytes;
        return {};
    }
    u128 const wait = static_cast<u128>(debt_) * k_ns_a_second / rate() + 1;
    return std::min(Duration{static_cast<i64>(std::min<u128>(wait, k_ns_a_second))}, k_ask_again);
}

u64 mesh_share(u64 budget, usize others, bool has_heard, usize all) {
    if (budget == 0) return 0;
    usize const busy = has_heard ? others + 1 : std::max<usize>(all, 1);
    return std::max<u64>(budget / busy, 1);
}

}  // namespace corelet
