// The catalog's changes as a judge sees them: one after the other, in the order of the log, as whoever is furthest
// applies them. Between two events of the world; one for each judge.
#pragma once

#include "catalog/state.h"
#include "stream/stream.pb.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

class CatalogChanges {
  public:
    explicit CatalogChanges(SimMesh& mesh) : mesh_(mesh), applied_(mesh.size()) {}

    // A stream's record before and after a change; the first one seen has none before.
    using OnStream = std::function<void(const pb::Stream* before, const pb::Stream& after)>;
    // After a turn of this corelet: calls `on_stream` for each change of a stream's record that it is the first to
    // have applied, while sessions() is what it was at that change. Returns the state, if there was anything new.
    const CatalogState* after_turn(usize index, const OnStream& on_stream);

    struct Session {
        LeaseId lease;
        sim::VirtualTime since;  // the corelet has one, this or another
    };
    // By key.
    [[nodiscard]] const std::map<std::string, Session>& sessions() const { return sessions_; }

  private:
    void look_at(const WatchEvent& event, const OnStream& on_stream);

    SimMesh& mesh_;
    std::vector<raft::Index> applied_;
    Revision revision_;
    std::map<std::string, Session> sessions_;
    std::map<std::string, pb::Stream> streams_;
};

}  // namespace corelet
