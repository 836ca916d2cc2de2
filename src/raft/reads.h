// Reads in flight: on a leader, waiting for a round of heartbeats that begins after them; on a follower, waiting
// for the leader's answer; on both, waiting until what they must see is applied. Bookkeeping only.
#pragma once

#include <deque>
#include <map>

#include "base/time.h"
#include "raft/effects.h"

namespace corelet::raft {

class Reads {
  public:
    // A read at a leader: for its own shell (`origin` zero, `context` given), or forwarded by a follower.
    struct Request {
        CoreletId origin;
        u64 nonce = 0;
        u64 context = 0;
        Instant deadline;
    };
    // Reads that share a round, and the index that all of them must see.
    struct Round {
        u64 number = 0;
        Index index = 0;
        std::vector<Request> requests;
    };

    [[nodiscard]] usize size() const;
    // At the leader.
    void add(Request request) { waiting_.push_back(std::move(request)); }
    [[nodiscard]] bool any_waiting() const { return !waiting_.empty(); }
    [[nodiscard]] usize rounds_out() const { return rounds_.size(); }
    // All that wait join the round that begins now.
    void begin_round(u64 number, Index index);
    // The rounds up to `number` are confirmed by a quorum.
    [[nodiscard]] std::vector<Round> confirm(u64 number);
    // No longer the leader: all requests that are not decided.
    [[nodiscard]] std::vector<Request> take_undecided();

    // At a follower: the number under which a read is forwarded.
    [[nodiscard]] u64 forward(u64 context, Instant deadline);
    // The context of a forwarded read; nothing if it is not awaited (any more).
    [[nodiscard]] std::optional<Request> answered(u64 number);
    [[nodiscard]] std::vector<Request> take_forwarded();

    // Decided: done when `index` is applied.
    void await_apply(Index index, u64 context, Instant deadline) {
        applying_.emplace(index, Waiter{context, deadline});
    }
    [[nodiscard]] std::vector<ReadState> take_applied(Index applied);
    // Contexts of own reads that are past their deadline; forwarded ones of others are dropped.
    [[nodiscard]] std::vector<u64> expire(Instant now);

  private:
    struct Waiter {
        u64 context = 0;
        Instant deadline;
    };
    std::vector<Request> waiting_;
    std::deque<Round> rounds_;
    std::map<u64, Request> forwarded_;
    u64 last_number_ = 0;
    std::multimap<Index, Waiter> applying_;
};

}  // namespace corelet::raft
