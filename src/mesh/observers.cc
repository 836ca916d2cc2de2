#include "mesh/observers.h"

#include <algorithm>

#include "base/assert.h"
#include "base/hash.h"

namespace corelet::mesh {
namespace {

constexpr u64 k_ring_salt = 0x52696E67;
// Also in the case that two ids hash alike, everybody has the same order.
std::pair<u64, u64> order_of(CoreletId id) {
    return {hash64(k_ring_salt, id.v), id.v};
}

}  // namespace

ObserverRing::ObserverRing(std::vector<Member> members, usize observers)
    : members_(std::move(members)), observers_(observers) {
    CORELET_ASSERT(observers >= 1);
    std::sort(members_.begin(), members_.end(),
              [](const Member& a, const Member& b) { return order_of(a.id) < order_of(b.id); });
}

usize ObserverRing::place_of(CoreletId id) const {
    auto const found = std::lower_bound(
        members_.begin(), members_.end(), id,
        [](const Member& member, CoreletId wanted) { return order_of(member.id) < order_of(wanted); });
    bool const there = found != members_.end() && found->id == id;
    return there ? static_cast<usize>(found - members_.begin()) : members_.size();
}

std::vector<CoreletId> ObserverRing::observers_of(CoreletId subject) const {
    std::vector<CoreletId> out;
    usize const place = place_of(subject), size = members_.size();
    if (place == size) return out;
    for (usize step = 1; step < size && out.size() < observers_; ++step) {
        const Member& member = members_[(place + step) % size];
        if (member.observes) out.push_back(member.id);
    }
    return out;
}

// Backwards from the observer, until enough others stand between.
std::vector<CoreletId> ObserverRing::subjects_of(CoreletId observer) const {
    std::vector<CoreletId> out;
    usize const place = place_of(observer), size = members_.size();
    if (place == size || !members_[place].observes) return out;
    usize between = 0;
    for (usize step = 1; step < size && between < observers_; ++step) {
        const Member& member = members_[(place + size - step) % size];
        out.push_back(member.id);
        between += member.observes;
    }
    return out;
}

}  // namespace corelet::mesh
