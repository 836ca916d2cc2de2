// Which peers answer real requests within their deadline, and where it sticks if not. Pure: time comes in.
//
// A process that hangs answers nothing; a device that hangs lets its process answer, but for what needs the device.
// So a device is accused only when the process has answered something that was sent after the request that waits.
// And while this corelet hung itself it accuses nobody: answers may have lain here unread.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <vector>

#include "node/health.h"
#include "wire/request_observer.h"

namespace corelet {

class RequestWatch final : public RequestObserver {
  public:
    struct Options {
        Duration deadline = k_prompt;
        Duration memory = 10_s;        // so long a deadline that passed counts
        u32 passed_often = 3;          // within that: degraded although it answers again
        Duration failed_after = 10_s;  // without any answer
        Duration blind_after = 1_s;    // without a look: this corelet hung
        usize owed_max = 256;          // requests watched at once, of one peer; more are not
        usize peers_max = 4096;
    };
    // Requests to oneself need no proof that the process answers.
    RequestWatch(CoreletId self, Options options) : self_(self), options_(options) {}

    [[nodiscard]] u64 request_began(CoreletId peer, RequestNeed need, Instant now) override;
    void request_ended(u64 request, RequestEnd end, Instant now) override;

    struct Judgement {
        CoreletId peer;
        Finding serving;
        std::optional<Finding> storing;  // nothing: it cannot be told now
    };
    // Of every peer of which anything is known. Call twice a second or oftener: what passed its deadline is noticed
    // here.
    [[nodiscard]] std::vector<Judgement> judge(Instant now);
    // Peers that owe an answer for which a device may be to blame, or not: one small question to each will tell.
    [[nodiscard]] std::vector<CoreletId> doubtful(Instant now) const;
    void forget(CoreletId peer);

  private:
    struct Side {
        std::map<u64, Instant> owed;          // by number, so by time of sending
        std::deque<Instant> passed;           // lately: when each of them was sent
        u64 counted = 0;                      // requests up to this number have been counted as passed
        u64 answered = 0;                     // highest number of an answered one
        std::optional<Instant> silent_since;  // the first passed one since the last answer was sent
    };
    struct Peer {
        std::array<Side, 2> sides;
        [[nodiscard]] Side& side(RequestNeed need) { return sides[static_cast<usize>(need)]; }
        [[nodiscard]] const Side& side(RequestNeed need) const { return sides[static_cast<usize>(need)]; }
    };
    [[nodiscard]] bool was_blind(Instant now) const { return judged_ && now - *judged_ >= options_.blind_after; }
    void excuse_all(Instant now);
    void count_passed(Side& side, Instant now) const;
    void passed(Side& side, u64 number, Instant sent) const;
    [[nodiscard]] Finding judge_side(const Side& side, std::string_view what, Instant now) const;
    [[nodiscard]] bool loop_answers(CoreletId id, const Peer& peer) const;
    [[nodiscard]] bool is_late(const Side& side, Instant now) const {
        return !side.owed.empty() && now - side.owed.begin()->second >= options_.deadline;
    }

    CoreletId self_;
    Options options_;
    std::optional<Instant> judged_;  // last
    std::map<CoreletId, Peer> peers_;
    std::map<u64, std::pair<CoreletId, RequestNeed>> requests_;
    u64 next_ = 1;
};

}  // namespace corelet
