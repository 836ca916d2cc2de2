// What somebody must do for the mesh and nobody is set apart for: giving up corelets that stay down, and keeping
// the voters as many and as spread as they should be. Runs at every corelet, acts at the one that leads the
// catalog; everything it does is conditional, so two of them do no harm.
#pragma once

#include "catalog/raft_catalog.h"
#include "node/map_service.h"

namespace corelet {

class MapKeeper {
  public:
    MapKeeper(Env& env, RaftNode& raft, MapService& maps, Duration out_after);

  private:
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<void> give_up_the_lost();
    // True if a step was taken, and another may follow at once.
    [[nodiscard]] Task<bool> keep_voters();
    Env& env_;
    RaftNode& raft_;
    MapService& maps_;
    Duration out_after_;
    struct Down {
        Incarnation incarnation;
        Instant since;
    };
    std::map<CoreletId, Down> down_;
    Scope scope_;
};

}  // namespace corelet
