// The newest changes of health that one corelet has seen: a ring, kept over restarts as far as it was saved. Pure.
#pragma once

#include <deque>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "node/health.h"
#include "node/node.pb.h"

namespace corelet {

struct LoggedEvent {
    u64 number = 0;     // grows with each event of its corelet, also over restarts
    WallTime at;        // for people
    CoreletId corelet;  // who saw it
    HealthChange change;
    friend bool operator==(const LoggedEvent&, const LoggedEvent&) = default;
};

void encode_event(const LoggedEvent& event, pb::HealthEvent& out);
// kCorrupt: a number that is none of ours, or a text beyond its bound.
[[nodiscard]] Result<LoggedEvent> decode_event(const pb::HealthEvent& in);

// Of all corelets together, by wall time; those of one corelet stay in their own order, whatever its clock did.
[[nodiscard]] std::vector<LoggedEvent> merge_events(std::vector<std::vector<LoggedEvent>> logs);

class EventLog {
  public:
    static constexpr usize k_kept = 512;
    static constexpr usize k_saved = 128;             // of those, over a restart
    static constexpr usize k_reason_bytes_max = 256;  // longer ones are cut

    EventLog(CoreletId self, Incarnation incarnation) : self_(self), incarnation_(incarnation) {}
    void add(HealthChange change, WallTime at);
    // Of an earlier life of this corelet, oldest first; before the first add(). What does not parse is left out.
    void restore(const pb::HealthMemory& memory);
    void save(pb::HealthMemory& memory) const;

    // The oldest `limit` of those above `number` and not older than `from`. A gap in one life's numbers is what the
    // ring has lost.
    [[nodiscard]] std::vector<LoggedEvent> after(u64 number, WallTime from, usize limit) const;
    // The highest given so far; 0: none.
    [[nodiscard]] u64 last() const { return events_.empty() ? 0 : events_.back().number; }

  private:
    void keep(LoggedEvent event);
    CoreletId self_;
    Incarnation incarnation_;
    u64 counter_ = 0;
    std::deque<LoggedEvent> events_;
};

}  // namespace corelet
