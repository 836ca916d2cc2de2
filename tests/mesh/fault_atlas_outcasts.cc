// Owners that are replaced while clients still reach them: what they may answer is what their replicas have
// promised, and no more (protocols 6).
#include "tests/mesh/fault_atlas.h"

namespace corelet {

// Its replicas still answer and promise, perhaps slowly, and so do clients find it; but its session ends, and
// somebody takes its streams.
void FaultAtlas::cut_owner_from_catalog() {
    auto const owner = draw_owner();
    auto const leader = mesh_.catalog_leader();
    if (!owner || !leader || *leader == owner->index) return;
    world_.stats().count("owner.without-catalog");
    std::vector<u32> others;
    for (usize other = 0; other < mesh_.size(); ++other) {
        bool const is_replica = std::ranges::find(owner->replicas, other) != owner->replicas.end();
        if (other != owner->index && (other == *leader || !is_replica)) others.push_back(static_cast<u32>(other));
    }
    troubles_[owner->index] = Trouble::kCut;
    bool const slowly = random_.chance(1, 2);
    for (usize replica : owner->replicas)
        if (slowly)
            world_.fabric().set_delay(static_cast<u32>(replica), static_cast<u32>(owner->index), draw(1, 400));
    Duration const time = draw(5'000, 13'000);
    if (random_.chance(2, 3))
        outcast_ = Outcast{owner->index, world_.now() + time, random_.chance(1, 3), owner->replicas};
    cut({static_cast<u32>(owner->index)}, std::move(others), time);
    after(time, &FaultAtlas::heal_delays, owner->index);
}

// A replica is about to be fenced for a new owner. The former one does not hear of it, and answers for as long as
// it may; and the replicas may forget in a restart what they have promised it.
void FaultAtlas::at_fence() {
    if (!outcast_ || world_.now() > outcast_->until || over_ || drill_) return outcast_.reset();
    if (troubles_[outcast_->index] == Trouble::kCut) after(Duration{}, &FaultAtlas::be_alone, outcast_->index);
    if (!outcast_->restarts) return;
    for (usize i : outcast_->replicas)
        if (mesh_.machine(i).is_running()) {
            restart_at_once(i);
        } else {
            after(Duration{}, &FaultAtlas::restart_at_once, i);
        }
    outcast_->restarts = false;
}

void FaultAtlas::restart_at_once(usize index) {
    if (troubles_[index] != Trouble::kNone) return;
    world_.stats().count("replica.fenced-in-restart");
    crash(index, draw(1, 100));
}

void FaultAtlas::be_alone(usize index) {
    if (!outcast_ || troubles_[index] != Trouble::kCut) return;
    world_.stats().count("owner.outcast");
    if (world_.trace().is_printing()) world_.trace().note(0, "outcast c" + std::to_string(index + 1));
    outcast_.reset();
    cut({static_cast<u32>(index)}, all_but({index}), draw(1'000, 4'000));
}

}  // namespace corelet
