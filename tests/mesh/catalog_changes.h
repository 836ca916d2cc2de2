// The catalog's changes as the judges see them: one after the other, in the order of the log, as whoever is
// furthest applies them. Between two events of the world.
#pragma once

#include "catalog/state.h"
#include "stream/stream.pb.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

class CatalogChanges {
  public:
    explicit CatalogChanges(SimMesh& mesh) : mesh_(mesh), applied_(mesh.size()) {}

    struct Session {
        LeaseId lease;
        sim::VirtualTime since;  // the corelet has one, this or another
    };
    using Sessions = std::map<std::string, Session>;  // by key
    // A stream's record before and after a change, and the sessions there were then.
    using OnStream =
        std::function<void(const pb::Stream& before, const pb::Stream& after, const Sessions& sessions)>;
    // After a turn of this corelet: calls `on_stream` for each change of a stream's record that it is the first to
    // have applied. Returns the state, if there was anything new.
    const CatalogState* after_turn(usize index, const OnStream& on_stream);

  private:
    void look_at(const WatchEvent& event, const OnStream& on_stream);

    SimMesh& mesh_;
    std::vector<raft::Index> applied_;
    Revision revision_;
    Sessions sessions_;
    std::map<std::string, pb::Stream> streams_;
};

}  // namespace corelet
