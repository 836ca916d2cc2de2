// News of the map on their way through the mesh, as part of messages that go anyway: the last small changes as
// deltas, for whoever shows an older epoch.
//
// A new epoch is told at once to a few that are drawn by lot, and each who learns it so does the same: after some
// log(n) steps nearly all have it (rumor mongering; Demers et al., "Epidemic Algorithms for Replicated Database
// Maintenance", PODC 1987). Who is missed shows an old epoch in its next probe, and gets it with the answer.
#pragma once

#include <deque>
#include <optional>

#include "base/time.h"
#include "mesh/gossip_message.h"
#include "mesh/map_delta.h"

namespace corelet::mesh {

class MapNews {
  public:
    // Beyond it a change is fetched by whoever hears of it.
    static constexpr usize k_delta_bytes_max = 900;
    // Between two rounds of telling: what changes meanwhile goes with the next.
    static constexpr Duration k_round_every{100'000'000};

    // The present map has become that of `epoch`; `steps`: the last of those that led there, oldest first, none
    // above k_delta_bytes_max; of them the last k_gossip_deltas_max count. The first map is no news.
    void map_changed(MapEpoch epoch, std::vector<MapStep> steps);
    [[nodiscard]] MapEpoch epoch() const { return epoch_; }

    // When the next round is due, if one is.
    [[nodiscard]] std::optional<Instant> round_due() const;
    void round_begun(Instant now);

    // Adds what a peer that showed `theirs` last (0: nothing yet) needs, as far as it has room.
    void add_to(GossipMessage& message, MapEpoch theirs) const;

  private:
    MapEpoch epoch_;
    MapEpoch told_;     // by the round before the last one
    MapEpoch telling_;  // by the last one
    std::deque<MapStep> steps_;
    bool round_owed_ = false;
    Instant round_after_;
};

}  // namespace corelet::mesh
