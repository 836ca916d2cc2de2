// Leadership handed over on purpose (dissertation 3.10). Whatever lease the layer above holds it gives up first.
#include "base/assert.h"
#include "raft/core.h"

namespace corelet::raft {

Result<> Core::transfer(CoreletId target) {
    if (role_ != Role::kLeader) return fail(Code::kNotLeader, "not the leader", leader_.v);
    if (handover_) return fail(Code::kUnavailable, "leadership is being handed over already", handover_->target.v);
    if (target == self_ || !configuration().is_voter(target)) {
        return fail(Code::kInvalid, "leadership goes to another voter", target.v);
    }
    handover_ = Handover{target, now_ + options_.election_timeout_min, false};
    handover_step();
    return {};
}

void Core::handover_step() {
    if (role_ != Role::kLeader || !handover_ || handover_->told) return;
    auto const peer = peers_.find(handover_->target);
    if (peer == peers_.end() || peer->second.match() != log_.last().index) return;
    handover_->told = true;
    post(handover_->target, TimeoutNow{}, When::kNow);
}

void Core::on(const Message& message, const TimeoutNow&) {
    CORELET_ASSERT(message.term == hard_.term);
    if (role_ != Role::kFollower || leader_ != message.from || !may_lead()) return;
    campaign(true);
}

}  // namespace corelet::raft
