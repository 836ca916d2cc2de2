// What a leader knows of one follower: how far it agrees, and how much may be sent to it. No protocol decisions.
#pragma once

#include <deque>

#include "base/time.h"
#include "raft/options.h"
#include "raft/types.h"

namespace corelet::raft {

class Progress {
  public:
    enum class State : u8 {
        kProbe,      // looking for where the logs meet: one append at a time
        kReplicate,  // pipelined
        kSnapshot,   // it lags behind the log: chunks of a snapshot, one at a time
    };
    // A transfer of `snapshot`, of which the follower has `offset` bytes.
    struct Transfer {
        Snapshot snapshot;
        u64 offset = 0;
        Instant sent;
    };

    Progress(Index next, Instant now) : next_(next), last_heard_(now), last_promise_(now) {}

    [[nodiscard]] State state() const { return state_; }
    // It acknowledged, durably, to equal our log up to here.
    [[nodiscard]] Index match() const { return match_; }
    [[nodiscard]] Index next() const { return next_; }
    [[nodiscard]] u64 acked_round() const { return acked_round_; }
    [[nodiscard]] Instant last_promise() const { return last_promise_; }
    [[nodiscard]] std::optional<Transfer>& transfer() { return transfer_; }

    // Whether an append with entries (or a probe) may go out now, and whether an empty one should.
    [[nodiscard]] bool may_send(Index last, const Options& options) const;
    [[nodiscard]] bool wants_nudge(Index commit, const Options& options) const;
    // An append that ends at `last` went out and told `commit`. An empty one occupies nothing.
    void sent(Index last, bool empty, Index commit, Instant now);

    // It answered an append. False: the answer says nothing new (late, or from a former life).
    bool accepted(Index match, bool promise);
    bool rejected(Index rejected_prev, Index hint, bool promise);
    void heard(Instant now, bool promise);
    // It answered a heartbeat. What was sent to it before `lost_before` and is not answered counts as lost.
    void heartbeat_answered(u64 round, bool promise, Index commit, Instant lost_before);
    // Not heard from for too long: stop the pipeline until it answers again.
    void pause_if_silent(Instant silent_since);
    void start_transfer(Snapshot snapshot, Instant now);

  private:
    void probe_from(Index next);
    State state_ = State::kProbe;
    Index match_ = 0;
    Index seen_ = 0;  // like match, by answers that carry no promise too: steers the flow only
    Index next_ = 1;
    Index sent_commit_ = 0;
    u64 acked_round_ = 0;
    bool paused_ = false;  // probing, and the probe is out
    bool nudge_ = false;
    std::deque<Index> in_flight_;  // last index of each append that is out
    Instant last_sent_;
    Instant last_heard_;
    Instant last_promise_;
    std::optional<Transfer> transfer_;
};

}  // namespace corelet::raft
