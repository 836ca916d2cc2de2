// One change of the voters at a time (dissertation 4.1 to 4.4), with the correction to it: the first change of a
// term waits for a committed entry of that term (Ongaro, raft-dev, 10 July 2015).
#include "base/assert.h"
#include "raft/codec.h"
#include "raft/core.h"

namespace corelet::raft {

Result<Position> Core::propose_change(Change change) {
    if (role_ != Role::kLeader) return fail(Code::kNotLeader, "not the leader", leader_.v);
    TRY(Configuration next, changed(configuration(), change));
    TRY_VOID(may_change(change, next));
    CORELET_ASSERT(voters_differing(configuration(), next) <= 1);
    leader_append(EntryKind::kConfiguration, encode_configuration(next));
    reconcile_peers();
    return log_.last();
}

Result<> Core::may_change(Change change, const Configuration& next) const {
    if (handover_) return fail(Code::kUnavailable, "leadership is being handed over");
    if (!own_term_committed()) return fail(Code::kUnavailable, "nothing of this term is committed yet");
    if (!configuration_committed()) return fail(Code::kUnavailable, "another change is under way");
    auto const alive = [this](CoreletId id) {
        auto const peer = peers_.find(id);
        if (peer == peers_.end()) return id == self_;
        return now_ - peer->second.last_promise() < options_.election_timeout_max;
    };
    if (change.kind == ChangeKind::kPromote) {
        auto const peer = peers_.find(change.who);
        bool const near =
            peer != peers_.end() && peer->second.match() + options_.promote_lag_max >= log_.last().index;
        if (!near || !alive(change.who))
            return fail(Code::kUnavailable, "the learner has not caught up", change.who.v);
    }
    auto const living = static_cast<usize>(std::count_if(next.voters.begin(), next.voters.end(), alive));
    if (living < next.majority()) return fail(Code::kUnavailable, "no majority of the new voters is alive");
    return {};
}

// Who is sent the log: the members, and those of the former configuration until the change is committed, so that a
// removed one learns of it.
void Core::reconcile_peers() {
    CORELET_ASSERT(role_ == Role::kLeader);
    auto const wanted = [this](CoreletId id) {
        if (id == self_) return false;
        return configuration().contains(id) ||
               (!configuration_committed() && configurations_.previous().contains(id));
    };
    std::erase_if(peers_, [&wanted](const auto& item) { return !wanted(item.first); });
    for (const Configuration* members : {&configurations_.current(), &configurations_.previous()}) {
        for (const auto* ids : {&members->voters, &members->learners}) {
            for (CoreletId id : *ids) {
                if (wanted(id)) peers_.try_emplace(id, log_.last().index + 1, now_);
            }
        }
    }
}

void Core::configuration_now_committed() {
    CORELET_ASSERT(role_ == Role::kLeader && configuration_committed());
    flush_appends();  // says so to a member that leaves, too
    reconcile_peers();
    if (!configuration().is_voter(self_)) leave_office();
}

// A removed leader has led until here without counting itself. It asks the one that is furthest to follow it.
void Core::leave_office() {
    CORELET_ASSERT(role_ == Role::kLeader && !configuration().is_voter(self_));
    CoreletId heir;
    for (CoreletId voter : configuration().voters) {
        auto const peer = peers_.find(voter);
        if (peer != peers_.end() && peer->second.match() == log_.last().index && heir.is_zero()) heir = voter;
    }
    if (!heir.is_zero()) post(heir, TimeoutNow{}, When::kNow);
    become_follower(hard_.term, CoreletId());
}

}  // namespace corelet::raft
