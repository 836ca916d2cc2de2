// What somebody must do for the mesh and nobody is set apart for: giving up corelets that stay down, repairing what
// few fragments are left of before that, and keeping the voters as many and as spread as they should be. Runs at
// every corelet, acts at the one that leads the catalog, or at the first of the map where that stands outside the
// mesh and has no voters here; everything it does is conditional, so two of them do no harm.
#pragma once

#include "catalog/raft_catalog.h"
#include "node/map_service.h"

namespace corelet {

class MapKeeper {
  public:
    // `raft` is null where the catalog stands outside the mesh. While `healing_paused` says so, nobody is given up,
    // and how long one is down counts anew after it.
    MapKeeper(Env& env, CoreletId self, RaftNode* raft, MapService& maps, Duration out_after,
              std::function<bool()> healing_paused);

    // What one corelet does for the mesh falls to this one now: it leads the catalog, or comes first in the map
    // where that stands outside. Two may believe so for a while.
    [[nodiscard]] bool has_its_turn() const;

  private:
    [[nodiscard]] Task<void> run();
    [[nodiscard]] Task<void> give_up_the_lost();
    // What no more than the repair threshold of a pool is left of does not wait for that (mesh/thin_rows.h).
    [[nodiscard]] Task<void> fill_thin_rows();
    [[nodiscard]] Task<void> remove_old_pieces();
    // True if a step was taken, and another may follow at once.
    [[nodiscard]] Task<bool> keep_voters();
    Env& env_;
    CoreletId self_;
    RaftNode* raft_;
    MapService& maps_;
    Duration out_after_;
    std::function<bool()> healing_paused_;
    struct Down {
        Incarnation incarnation;
        Instant since;
    };
    std::map<CoreletId, Down> down_;
    struct Thin {
        MapEpoch seen;
        bool is_thin = false;
        Instant since{};
    };
    std::map<PoolId, Thin> thin_;
    std::optional<Instant> pieces_unused_since_;
    Scope scope_;
};

}  // namespace corelet
