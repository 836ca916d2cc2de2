// Draws faults, load and changes of membership over a Cluster, all from its seed, and stays within what a group
// must survive: at most one voter is impaired (media lost or rotten) until it is replaced or repaired. When the
// faults stop the group must work again within a bound.
#pragma once

#include "raft/cluster_testing.h"

namespace corelet::raft::testing {

class Chaos {
  public:
    explicit Chaos(u64 seed);
    // Faults for so long; then none, and what must come back. The verdict, empty if all is well.
    [[nodiscard]] std::string run(Duration duration);
    Cluster cluster;
    u64 changes = 0;  // of membership that were accepted
    u64 rots = 0;
    u64 losses = 0;

  private:
    static Options options(u64 seed);
    static Weather weather(u64 seed);
    void load();
    void nodes();
    void network();
    void media();
    void manage();
    void replace(CoreletId leader);
    void churn(CoreletId leader);
    bool change(CoreletId leader, ChangeKind kind, CoreletId who);
    void heal();
    [[nodiscard]] bool settled();
    [[nodiscard]] bool impaired();
    [[nodiscard]] std::string describe();
    [[nodiscard]] CoreletId any();

    Prng random_;
    u64 reach_;  // of swarm testing: which classes of faults this seed has
    CoreletId lost_;
    CoreletId rotten_;
    std::map<CoreletId, Instant> down_until_;
};

}  // namespace corelet::raft::testing
