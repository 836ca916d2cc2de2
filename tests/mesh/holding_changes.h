// What comes into the stores of a simulated mesh and goes from them, as the judges see it: from one look to the
// next, of each corelet for as long as it lives. Between two events of the world.
#pragma once

#include "tests/mesh/sim_mesh.h"

namespace corelet {

class HoldingChanges {
  public:
    explicit HoldingChanges(SimMesh& mesh) : mesh_(mesh), had_(mesh.size()) {}

    // At this corelet there is one that was not there when it was looked at last; not fresh: nor had the corelet
    // been looked at since it booted.
    using OnSeen = std::function<void(usize index, const FragmentInfo& info, bool fresh)>;
    using OnGone = std::function<void(usize index, const FragmentId& id)>;
    void look(const OnSeen& on_seen, const OnGone& on_gone);

  private:
    struct Had {
        CoreletId id;
        u64 boot = 0;
        std::vector<FragmentInfo> fragments;  // in order
    };
    void look_at(usize index, const OnSeen& on_seen, const OnGone& on_gone);

    SimMesh& mesh_;
    std::vector<Had> had_;
};

}  // namespace corelet
