// Who watches whom: each corelet is probed by the few that follow it in a ring, and by nobody else; so the cost of
// failure detection does not grow with the mesh, and a death is noticed by schedule, not by chance (the ring of
// observers of Suresh et al., "Stable and Consistent Membership at Scale with Rapid", USENIX ATC 2018, with one
// ring in place of K).
//
// The ring is in the order of a pinned hash, so that those who fail together (a rack, a zone) are rarely each
// other's only observers. Who is down or out observes nobody, and is observed still, so that its return is seen.
#pragma once

#include <vector>

#include "base/types.h"

namespace corelet::mesh {

class ObserverRing {
  public:
    struct Member {
        CoreletId id;
        bool observes = true;  // neither down nor out
        friend bool operator==(const Member&, const Member&) = default;
    };

    ObserverRing() = default;
    // `members` in any order, none twice. `observers` of each: at most so many, at least 1.
    ObserverRing(std::vector<Member> members, usize observers);

    // The next ones behind it that observe, nearest first; none for whoever is not in the ring.
    [[nodiscard]] std::vector<CoreletId> observers_of(CoreletId subject) const;
    // Those whose observers include this one, in the order of the ring.
    [[nodiscard]] std::vector<CoreletId> subjects_of(CoreletId observer) const;

  private:
    [[nodiscard]] usize place_of(CoreletId id) const;  // members_.size(): not in it

    std::vector<Member> members_;  // by hash
    usize observers_ = 1;
};

}  // namespace corelet::mesh
