// Raft's invariants over the live nodes of a simulated mesh: one leader a term, one entry at each committed index,
// and at each leader everything committed before its term.
#pragma once

#include "tests/mesh/sim_mesh.h"

namespace corelet {

class ConsensusJudge {
  public:
    explicit ConsensusJudge(SimMesh& mesh) : mesh_(mesh), seen_(mesh.size()) {}
    // To be called between events; cheap while nothing changed. Fails the world.
    void look();
    [[nodiscard]] u64 leaders() const { return leader_of_.size(); }
    [[nodiscard]] u64 committed() const { return committed_.size(); }
    [[nodiscard]] u64 voters_replaced() const { return voters_replaced_; }

  private:
    struct Seen {
        u64 boot = 0;
        raft::Term term;
        raft::Role role = raft::Role::kFollower;
        raft::Index commit = 0;
    };
    struct Committed {
        raft::Term term;
        u32 crc = 0;
        raft::Term seen_in;
    };
    void look_at(usize index);
    void check_leader(const raft::Core& core);
    void check_commit(const raft::Core& core, raft::Index from);

    SimMesh& mesh_;
    std::vector<Seen> seen_;
    std::map<raft::Term, CoreletId> leader_of_;
    std::map<raft::Index, Committed> committed_;
    std::set<CoreletId> voters_;
    raft::Index voters_at_ = 0;
    u64 voters_replaced_ = 0;
};

}  // namespace corelet
