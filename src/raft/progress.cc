#include "raft/progress.h"

#include <algorithm>

#include "base/assert.h"

namespace corelet::raft {

bool Progress::may_send(Index last, const Options& options) const {
    switch (state_) {
        case State::kProbe:
            return !paused_;
        case State::kReplicate:
            return next_ <= last && in_flight_.size() < options.appends_in_flight_max;
        case State::kSnapshot:
            return false;
    }
    CORELET_UNREACHABLE("unknown state of a follower");
}

bool Progress::wants_nudge(Index commit, const Options& options) const {
    if (state_ != State::kReplicate) return false;
    return nudge_ || (sent_commit_ < commit && in_flight_.size() < options.appends_in_flight_max);
}

void Progress::sent(Index last, bool empty, Index commit, Instant now) {
    CORELET_ASSERT(state_ != State::kSnapshot);
    last_sent_ = now;
    sent_commit_ = std::max(sent_commit_, commit);
    nudge_ = false;
    if (state_ == State::kProbe) {
        paused_ = true;
        return;
    }
    if (empty) return;
    CORELET_ASSERT(last >= next_);
    next_ = last + 1;
    in_flight_.push_back(last);
}

bool Progress::accepted(Index match, bool promise) {
    bool const news = match > seen_ || (promise && match > match_) || state_ == State::kProbe;
    seen_ = std::max(seen_, match);
    if (promise) match_ = std::max(match_, match);
    next_ = std::max(next_, match + 1);
    while (!in_flight_.empty() && in_flight_.front() <= match) in_flight_.pop_front();
    if (state_ == State::kProbe || (state_ == State::kSnapshot && transfer_->snapshot.last.index <= match)) {
        state_ = State::kReplicate;
        transfer_.reset();
        in_flight_.clear();
        next_ = std::max(match, match_) + 1;
    }
    CORELET_ASSERT(next_ > match_);
    return news;
}

bool Progress::rejected(Index rejected_prev, Index hint, bool promise) {
    if (state_ == State::kSnapshot) return false;
    // What it acknowledged it keeps; unless it says itself that it lost promises.
    if (promise && rejected_prev <= match_) return false;
    if (state_ == State::kProbe && rejected_prev != next_ - 1) return false;
    if (state_ == State::kReplicate && rejected_prev > next_ - 1) return false;
    if (!promise) {
        match_ = std::min(match_, hint);
        seen_ = std::min(seen_, hint);
    }
    Index const floor = match_ + 1;
    probe_from(std::max(floor, std::min(rejected_prev, hint + 1)));
    return true;
}

void Progress::heard(Instant now, bool promise) {
    last_heard_ = now;
    if (promise) last_promise_ = now;
}

void Progress::heartbeat_answered(u64 round, bool promise, Index commit, Instant lost_before) {
    if (promise) acked_round_ = std::max(acked_round_, round);
    sent_commit_ = std::min(sent_commit_, commit);
    if (last_sent_ > lost_before) return;
    paused_ = false;
    // An empty append after what was sent shows the gap, if there is one; and asks for the promise that was
    // withheld.
    bool const unseen = seen_ + 1 < next_;
    bool const unpromised = promise && match_ < seen_;
    nudge_ = state_ == State::kReplicate && (unseen || unpromised);
}

void Progress::pause_if_silent(Instant silent_since) {
    if (last_heard_ > silent_since || state_ != State::kReplicate) return;
    probe_from(std::max(seen_, match_) + 1);
    paused_ = true;
}

void Progress::start_transfer(Snapshot snapshot, Instant now) {
    state_ = State::kSnapshot;
    in_flight_.clear();
    paused_ = false;
    next_ = snapshot.last.index + 1;
    transfer_ = Transfer{std::move(snapshot), 0, now};
}

void Progress::probe_from(Index next) {
    CORELET_ASSERT(next > 0);
    state_ = State::kProbe;
    transfer_.reset();
    in_flight_.clear();
    paused_ = false;
    nudge_ = false;
    next_ = next;
}

}  // namespace corelet::raft
