// What a mesh can lose: pure arithmetic over what is known of it (design section 14, invariant 11 of the
// protocols).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "mesh/map.h"

namespace corelet {

// What is known of the mesh at one moment.
struct LossView {
    struct Segment {
        bool ended = false;  // takes no records any more, and is not yet released
        std::vector<CoreletId> replicas;
    };
    struct Stream {
        std::string name;  // for people: "volume demo"
        PoolId pool;
        std::vector<Segment> segments;  // those that recovery needs: listed and ended ones, no dormant ones
    };
    // A chunk of which healing has not yet restored every fragment, and who has one.
    struct Degraded {
        PoolId pool;
        std::vector<CoreletId> holders;
    };

    const mesh::Map& map;
    std::vector<CoreletId> voters;  // of the catalog's present configuration
    std::set<CoreletId> lost;    // no help although the map has them up: silent, failed, or with promises forgotten
    std::set<CoreletId> barred;  // there, but they do not vote now, or did not say just now that they do
    std::vector<Stream> streams;  // those that ever had an owner
    std::vector<Degraded> degraded;
    // Came up, and have not yet compared what they hold with the others: nobody knows what they miss.
    std::set<std::pair<PoolId, CoreletId>> unproven;
    bool own_catalog = true;  // kept by voters of the mesh; one that stands outside limits nothing here
};

struct LossBudget {
    // So many further corelets (zones), any of them, may be lost with nothing lost and everything served after
    // failover. Never negative.
    int can_lose = 0;
    std::string limited_by;
    int can_lose_zones = 0;
    std::string zones_limited_by;
    // What this mesh, with everything in it whole, could lose: the smaller of what pools promise and what its size
    // allows.
    int possible = 0;
    bool unreadable = false;  // something cannot be read with what is there now
    std::string unreadable_what;
    bool narrow = false;  // a segment has fewer copies than its pool promises
};

[[nodiscard]] LossBudget loss_budget(const LossView& view);

// What a mesh of these corelets could lose if all of them were up and everything as redundant as the pool promises,
// by the pool's tables, its log, and the voters that such a mesh has if it keeps its catalog itself.
struct PoolPromise {
    int can_lose = 0;
    std::string limited_by;
};
[[nodiscard]] PoolPromise pool_promise(const mesh::Map& map, const mesh::Pool& pool, bool own_catalog = true);

// `unavailable`, `at_risk`, `degraded` or `ok`, as design section 14 defines them.
struct HealthView {
    bool unserved = false;    // an attached volume has no owner, or its owner can neither read nor write
    bool unfinished = false;  // corelets, voters, places of tables or fragments are missing, or data moves
};
[[nodiscard]] std::string health_of(const LossBudget& budget, const HealthView& view);

}  // namespace corelet
