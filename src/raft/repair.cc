// A voter whose log was promised and has rotted (protocols 11; Alagappan et al., FAST 2018). It neither votes nor
// acknowledges until what it promised is there again, or is known never to have counted:
// - a leader of the same or a later term supplies it: its log holds all that is committed, and at least until the
//   promise is covered it is followed without acknowledging;
// - without a leader, a peer that holds the very entry it promised supplies the way to it, or a snapshot beyond it;
// - a majority of all voters, each in a later term than the entry's, lacks the one entry that is missing.
#include "base/assert.h"
#include "raft/core.h"

namespace corelet::raft {

void Core::repaired() {
    CORELET_ASSERT(rotten());
    hard_.repairing = {};
    bars_ = static_cast<u8>(bars_ & ~static_cast<u8>(Bar::kRotten));
    lacking_.clear();
}

// The logs are equal up to `matched`. A leader of a later term than the promise may have a shorter log: then the
// rest was not committed, and never will be. Of the promise's own term an old message may merely be short.
void Core::repair_by_leader(Index matched, Index leader_last) {
    if (!rotten()) return;
    Position const promised = hard_.repairing;
    CORELET_ASSERT(hard_.term >= promised.term);
    bool const later_term = promised.term.v > 0 && hard_.term > promised.term;
    Index const target = later_term ? std::min(promised.index, leader_last) : promised.index;
    if (matched >= target) repaired();
}

void Core::ask_for_repair() {
    CORELET_ASSERT(rotten());
    if (hard_.repairing.term.is_zero()) return;  // only a leader can help
    for (CoreletId voter : configuration().voters) {
        if (voter != self_) post(voter, RepairRequest{log_.last(), hard_.repairing}, When::kNow);
    }
}

void Core::on(const Message& message, const RepairRequest& request) {
    if (hears_leader()) return;  // who supplies it
    if (request.have.index >= request.promised.index || request.promised.term.is_zero()) return;
    if (log_.base().index > request.have.index) {
        if (log_.snapshot()) send_chunk(message.from, *log_.snapshot(), 0, true);
        return;
    }
    if (!log_.matches(request.promised) || !log_.matches(request.have)) {
        deny(message, request);
        return;
    }
    RepairResponse response{request.have, request.promised, false, {}, {}};
    response.entries = log_.slice(request.have.index + 1, request.promised.index, options_.append_bytes_max);
    post(message.from, std::move(response), When::kNow);
}

// That we lack it counts as a promise: in a later term we cannot take it from the leader that made it any more.
void Core::deny(const Message& message, const RepairRequest& request) {
    bool const remembers = (bars_ & ~static_cast<u8>(Bar::kRotten)) == 0;
    if (!remembers || !surely_lacks(request.promised)) return;
    if (hard_.term <= request.promised.term) become_follower(request.promised.term.next(), CoreletId());
    post(message.from, RepairResponse{request.have, request.promised, true, configuration(), {}}, When::kDurable);
}

bool Core::surely_lacks(Position promised) const {
    if (promised.index <= log_.last().index) {
        std::optional<Term> const here = log_.term_at(promised.index);
        return here && *here != promised.term;
    }
    return !rotten() || hard_.repairing.index < promised.index;
}

void Core::on(const Message& message, const RepairResponse& response) {
    if (!rotten() || response.promised != hard_.repairing) return;
    if (response.lacks) {
        count_lack(message, response);
        return;
    }
    if (response.have != log_.last() || response.entries.empty()) return;
    if (response.entries.back().at > hard_.repairing || response.entries.back().at.index > hard_.repairing.index) {
        ++dropped_;
        return;
    }
    for (const Entry& entry : response.entries) accept_entry(entry);
    if (log_.last() == hard_.repairing) {
        repaired();
    } else {
        post(message.from, RepairRequest{log_.last(), hard_.repairing}, When::kNow);
    }
}

// Only for a single missing entry: of several, an earlier one may be committed where the last is not. And only
// among voters who know the same configuration, since their majority must meet every one that could have committed
// it.
void Core::count_lack(const Message& message, const RepairResponse& response) {
    bool const single = log_.last().index + 1 == hard_.repairing.index;
    if (!single || message.term <= hard_.repairing.term) return;
    if (response.configuration != configuration() || !configuration().is_voter(message.from)) return;
    CORELET_ASSERT(message.from != self_ && hard_.term > hard_.repairing.term);
    lacking_.insert(message.from);
    if (lacking_.size() >= configuration().majority()) repaired();
}

}  // namespace corelet::raft
