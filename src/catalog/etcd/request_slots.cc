#include "catalog/etcd/request_slots.h"

namespace corelet::etcd {

RequestSlots::RequestSlots(u64 client) {
    for (usize i = 0; i < uses_.size(); ++i) uses_[i].slot = Slot{client, i, {}};
}

Task<RequestSlots::Loan> RequestSlots::take() {
    Permit permit = co_await acquire_permit(free_, 1);
    auto const free = std::find_if(uses_.begin(), uses_.end(), [](const Use& use) { return !use.taken; });
    CORELET_ASSERT(free != uses_.end());
    co_return Loan(*free, std::move(permit));
}

Settled settle(RequestSlots::Use& use, const TransactionAnswer& answer) {
    use.unsettled = false;
    use.slot.revision = answer.succeeded ? answer.header.revision : answer.slot_revision;
    if (answer.succeeded) return Settled::kNoEffect;
    if (answer.slot_revision.is_zero()) return Settled::kGone;
    return answer.slot_value == k_slot_done ? Settled::kDone : Settled::kNoEffect;
}

Tried conclude(RequestSlots::Use& use, const TransactionAnswer& answer) {
    use.unsettled = false;
    if (answer.succeeded) {
        use.slot.revision = answer.header.revision;
        return Tried::kDone;
    }
    bool const in_place = answer.slot_revision == use.slot.revision;
    use.slot.revision = answer.slot_revision;
    return in_place ? Tried::kRefused : Tried::kMoved;
}

}  // namespace corelet::etcd
