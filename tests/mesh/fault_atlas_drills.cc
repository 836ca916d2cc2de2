// Long outages of one kind, begun on a mesh that is whole, with nothing else beside them: what the promise says of
// the time that writes may take meanwhile can be told. And volumes that are detached for a while.
#include <array>

#include "stream/stream_record.h"
#include "tests/mesh/fault_atlas.h"

namespace corelet {

namespace {

// A silent replica is noticed after 500 ms, and the roll needs no catalog: one exchange with the standby's
// replicas. The rest is for slow devices and for turns.
constexpr Duration k_roll_bound = 3_s;
// Until then an owner may not have noticed that the catalog is not there, and roll for size: its leader steps down
// at the first heartbeat after 3 s, a follower gives it up within 3 s more, and who follows that one within 3 s
// again.
constexpr Duration k_outage_known = 10_s;
// With the catalog there an owner may have rolled for size meanwhile, onto whoever falls silent now: then another
// standby has to be prepared, and a try with somebody silent takes 2 s.
constexpr Duration k_replace_bound = 5_s;
// A session lives for 4 s after the last renewal that was answered, and as long again if the leader was lost with
// its holder (2 s to another); a candidate that comes forward in its turn (2 s) fences for T + 1 s at most, and may
// give up after 10 s of trying for another to try.
constexpr Duration k_takeover_bound = 24_s;

bool is_in(const std::vector<CoreletId>& list, CoreletId id) {
    return std::ranges::find(list, id) != list.end();
}

}  // namespace

std::optional<FaultAtlas::Promise> FaultAtlas::promise_of_writes(const std::string& volume) const {
    if (options_.beyond || options_.lying) return std::nullopt;
    if (is_detached(volume)) return std::nullopt;
    if (drill_ && drill_->promised && drill_->volume == volume) return drill_->promised;
    if (troubled() > options_.promise) return std::nullopt;
    return Promise{calm_since_, k_takeover_bound, std::nullopt};
}

bool FaultAtlas::is_detached(const std::string& volume) const {
    return std::ranges::any_of(detached_, [&](auto const& item) { return volumes_[item.first] == volume; });
}

std::optional<FaultAtlas::Covered> FaultAtlas::draw_covered() {
    std::vector<Covered> found;
    for (const std::string& volume : volumes_) {
        auto const servers = mesh_.servers_of(volume);
        if (servers.size() != 1 || troubles_[servers.front()] != Trouble::kNone) continue;
        usize const owner = servers.front();
        auto const stream = mesh_.stream_status(owner, volume);
        if (!stream) continue;
        for (CoreletId id : stream->open_segment) {
            auto const index = mesh_.index_of(id);
            bool const covered = std::ranges::any_of(
                stream->standbys, [&](auto const& standby) { return !is_in(standby.replicas, id); });
            if (covered && index && *index != owner && troubles_[*index] == Trouble::kNone)
                found.push_back({volume, owner, *index});
        }
    }
    if (found.empty()) return std::nullopt;
    return found[random_.below(found.size())];
}

// Its device answers nothing for a while: nobody takes it for dead.
void FaultAtlas::silence(usize index, Duration time) {
    world_.stats().count_fault(sim::FaultKind::kStuckDisk);
    troubles_[index] = Trouble::kSlow;
    if (sim::MediaFile* const device = device_of(index)) device->faults.stuck_until = world_.now() + time;
    after(time, &FaultAtlas::quicken, index);
}

// The catalog has no quorum for long, since witnesses have it; then a replica fails. Writes go on as long as a
// listed standby is left (design 2.10), and none is used up but for a failure.
void FaultAtlas::catalog_outage() {
    auto const covered = draw_covered();
    if (!covered) return;
    auto const voters = mesh_.node(covered->owner)->services().catalog->voters();
    std::vector<usize> gone;
    for (usize i = mesh_.options().corelets; i < mesh_.size(); ++i)
        if (is_in(voters, mesh_.id(i)) && troubles_[i] == Trouble::kNone) gone.push_back(i);
    if (2 * (voters.size() - gone.size()) > voters.size()) return;
    world_.stats().count("catalog.outage");
    Duration const length = draw(20'000, 26'000);
    bool const paused = random_.chance(1, 2);
    for (usize i : gone) {
        if (paused) {
            pause(i, length);
        } else {
            crash(i, length);
        }
    }
    drill_ = Drill{world_.now() + length, {}, std::nullopt};
    after(k_outage_known, &FaultAtlas::catalog_is_gone, 0);
}

// From here on no owner rolls for size any more. One that has a standby left keeps it until something fails.
void FaultAtlas::catalog_is_gone(usize) {
    auto const covered = draw_covered();
    if (!drill_ || !covered) return;
    world_.stats().count("catalog.outage.covered");
    drill_->volume = covered->volume;
    drill_->promised = Promise{world_.now(), k_roll_bound, covered->owner};
    after(draw(3'000, 6'000), &FaultAtlas::fail_replica, covered->replica);
}

// The one that the standby does without; or, if the owner has used that up though nothing had failed, one of those
// that it has now.
void FaultAtlas::fail_replica(usize index) {
    if (!drill_ || !drill_->promised) return;
    usize const owner = *drill_->promised->at;
    auto const stream = mesh_.stream_status(owner, drill_->volume);
    if (!stream) return;
    auto const& open = stream->open_segment;
    if (!is_in(open, mesh_.id(index)))
        for (CoreletId id : open)
            if (auto const other = mesh_.index_of(id); other && *other != owner) index = *other;
    if (index == owner || troubles_[index] != Trouble::kNone) return;
    Duration const left = drill_->until - world_.now();
    if (random_.chance(1, 2)) return silence(index, left);
    crash(index, left);
}

// Replicas of the open segment fall silent one after the other, with time between for another standby: shortly,
// then for long, before an owner may roll for lag again.
void FaultAtlas::silent_replicas() {
    drill_ = Drill{world_.now() + 30_s, {}, std::nullopt};
    silence_next(2);
}

void FaultAtlas::silence_next(usize rounds_left) {
    if (!drill_) return;
    if (rounds_left == 0) {
        drill_.reset();
        return;
    }
    auto const covered = draw_covered();
    if (!covered) return after(100_ms, &FaultAtlas::silence_next, rounds_left);
    world_.stats().count("replica.silent");
    drill_->volume = covered->volume;
    drill_->promised = Promise{world_.now(), k_replace_bound, covered->owner};
    bool const last = rounds_left == 1;
    silence(covered->replica, last ? 10_s : 1'500_ms);
    after(last ? 12_s : 2'500_ms, &FaultAtlas::silence_next, rounds_left - 1);
}

// All but those who have an owner's log are down, for less long than anybody is given up: more than the pool
// survives the loss of, but they come back with all they hold. What is missing is not lost, only not to be had, and
// nobody may say otherwise; the owner goes on all the while, so it is asked.
void FaultAtlas::silent_holders() {
    auto const owner = draw_owner();
    if (options_.beyond || !owner) return;
    // Who is put out may have what is lost.
    Duration const length = std::min(draw(1'500, 4'000), mesh_.options().out_after / 2);
    for (usize i = 0; i < mesh_.options().corelets; ++i)
        if (i != owner->index && std::ranges::find(owner->replicas, i) == owner->replicas.end()) crash(i, length);
    world_.stats().count("holders.silent");
    drill_ = Drill{world_.now() + length, {}, std::nullopt};
}

// The owner can neither append nor roll, while its process renews its session: it reaches voters, but nobody who
// stores anything. It gives the stream up (protocols 3.4), and another one goes on.
void FaultAtlas::helpless_owner() {
    auto const owner = mesh_.server_of(volumes_[random_.below(volumes_.size())]);
    if (!owner || troubles_[*owner] != Trouble::kNone || mesh_.options().witnesses < 3) return;
    // It must not come to lead the catalog: then nobody who could take over could ask it.
    if (is_in(mesh_.node(*owner)->services().catalog->voters(), mesh_.id(*owner))) return change_owner();
    // And it has to reach who leads: else its session ends, and it is no longer helpless.
    auto const leader = mesh_.catalog_leader();
    if (!leader || *leader < mesh_.options().corelets) return strike_leader();
    Duration const length = k_takeover_bound + draw(2'000, 4'000);
    drill_ = Drill{world_.now() + length, {}, std::nullopt};
    world_.stats().count("owner.helpless");
    std::vector<u32> others;
    for (u32 other = 0; other < mesh_.options().corelets; ++other)
        if (other != *owner) others.push_back(other);
    troubles_[*owner] = Trouble::kCut;
    cut({static_cast<u32>(*owner)}, std::move(others), length);
}

// A volume that nobody wants for a while, sometimes just when its owner dies: then others have to end its segments.
void FaultAtlas::detach_volume() {
    usize const volume = random_.below(volumes_.size());
    auto const asked = draw_sound();
    if (detached_.contains(volume) || !asked || !mesh_.node(*asked)) return;
    auto const owner = mesh_.server_of(volumes_[volume]);
    if (owner && *owner != *asked && troubles_[*owner] == Trouble::kNone && may_trouble(1) &&
        random_.chance(1, 2)) {
        world_.stats().count("detached.ownerless");
        crash(*owner, draw(500, 8'000));
    }
    world_.stats().count("detached");
    detached_[volume] = false;
    mesh_.request(*asked, "volume.detach", R"({"name":")" + volumes_[volume] + R"("})");
    after(random_.chance(1, 2) ? draw(1'000, 6'000) : draw(90'000, 110'000), &FaultAtlas::attach_again, volume);
}

// What of a pool may change while it holds chunks; most of it moves some. What the mesh cannot hold is refused.
void FaultAtlas::change_pool() {
    auto const asked = draw_sound();
    if (!asked || !mesh_.node(*asked)) return;
    static constexpr std::array k_strategies{"balanced", "zone-aware", "random"};
    static constexpr std::array k_levels{"corelet", "chassis", "zone"};
    world_.stats().count("pool.changed");
    std::string const strategy = k_strategies[random_.below(k_strategies.size())];
    std::string const level = k_levels[random_.below(k_levels.size())];
    std::string const cap = std::to_string(random_.below(3)), copies = std::to_string(random_.below(2));
    mesh_.request(*asked, "pool.change",
                  R"({"name":"p","strategy":")" + strategy + R"(","failure_domain":")" + level +
                      R"(","max_per":{"zone":)" + cap + R"(},"min_copies":)" + copies + "}");
}

// Asked until somebody serves it.
void FaultAtlas::attach_again(usize volume) {
    auto const detached = detached_.find(volume);
    if (detached == detached_.end()) return;
    if (detached->second && mesh_.server_of(volumes_[volume])) {
        detached_.erase(detached);
        return;
    }
    detached->second = true;
    auto const asked = draw_sound();
    if (asked && mesh_.node(*asked))
        mesh_.request(*asked, "volume.attach", R"({"name":")" + volumes_[volume] + R"("})");
    after(2_s, &FaultAtlas::attach_again, volume);
}

}  // namespace corelet
