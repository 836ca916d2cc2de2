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
            world_.fabric().set_delay(static_cast<u32>(replica), static_cast<u32>(owner->index), draw(1, 450));
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
    auto const replicas = outcast_->replicas;
    Duration const left = outcast_->until - world_.now();
    if (world_.trace().is_printing()) world_.trace().note(0, "outcast c" + std::to_string(index + 1));
    outcast_.reset();
    u64 const dice = random_.below(6);
    // Who stands still meanwhile is asked at once when it goes on; not before it is reached again.
    if (dice < 2) return pause(index, std::max(draw(2'500, 9'000), left));
    Duration const time = draw(1'000, 4'000);
    usize const companion = replicas.empty() ? index : replicas[random_.below(replicas.size())];
    if (dice > 3 || troubles_[companion] != Trouble::kNone || !may_trouble(1))
        return cut({static_cast<u32>(index)}, all_but({index}), time);
    // One of its replicas is left with it, and promises on.
    troubles_[companion] = Trouble::kCut;
    cut({static_cast<u32>(index), static_cast<u32>(companion)}, all_but({index, companion}), time);
}

// A planned move: the former owner stands still as soon as it has let go of its replicas, and finds what it was
// asked meanwhile when it goes on.
void FaultAtlas::move_and_pause() {
    change_owner();
    mover_until_ = world_.now() + 3_s;
}

void FaultAtlas::at_release(usize owner) {
    if (over_ || drill_ || world_.now() > *mover_until_) return mover_until_.reset();
    if (troubles_[owner] != Trouble::kNone || !may_trouble(1)) return;
    mover_until_.reset();
    world_.stats().count("mover.paused");
    troubles_[owner] = Trouble::kPaused;
    after(draw(0, 20), &FaultAtlas::pause_mover, owner);
}

void FaultAtlas::pause_mover(usize index) {
    if (troubles_[index] == Trouble::kPaused) pause(index, draw(100, 1'500));
}

}  // namespace corelet
