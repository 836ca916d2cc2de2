// Crashes, pauses, slowness, clocks, and what people do.
#include "tests/mesh/fault_atlas.h"

namespace corelet {

void FaultAtlas::crash(usize index, sim::Ending ending, Duration down) {
    troubles_[index] = Trouble::kDown;
    mesh_.machine(index).crash(ending);
    after(down, &FaultAtlas::come_back, index);
}

void FaultAtlas::crash(usize index, Duration down) {
    crash(index, random_.chance(1, 2) ? sim::Ending::kKill : sim::Ending::kPower, down);
}

void FaultAtlas::come_back(usize index) {
    if (troubles_[index] != Trouble::kDown) return;
    is_back(index);
    // A crash that was due at some await may not have come yet; it must not come later.
    mesh_.machine(index).crash(sim::Ending::kKill);
    mesh_.start(index);
}

void FaultAtlas::crash_one(sim::Ending ending) {
    if (auto const victim = draw_victim()) crash(*victim, ending, draw(50, 3'000));
}

void FaultAtlas::kill_one() {
    crash_one(sim::Ending::kKill);
}

void FaultAtlas::cut_power_of_one() {
    crash_one(sim::Ending::kPower);
}

void FaultAtlas::crash_owner() {
    auto const owner = mesh_.server_of(volumes_[random_.below(volumes_.size())]);
    if (!owner || troubles_[*owner] != Trouble::kNone || !may_trouble(1)) return;
    world_.stats().count("owner.crashed");
    crash(*owner, draw(50, 6'000));
}

void FaultAtlas::crash_at_some_await() {
    auto const victim = draw_victim();
    if (!victim) return;
    troubles_[*victim] = Trouble::kDown;
    auto const ending = random_.chance(1, 3) ? sim::Ending::kKill : sim::Ending::kPower;
    if (random_.chance(1, 3)) {
        mesh_.machine(*victim).crash_after_resumptions(1 + random_.below(5'000), ending);
    } else {
        mesh_.machine(*victim).crash_after_disk_operations(1 + random_.below(60), ending);
    }
    after(draw(300, 2'500), &FaultAtlas::come_back, *victim);
}

void FaultAtlas::crash_replica() {
    auto const owner = mesh_.server_of(volumes_[random_.below(volumes_.size())]);
    if (!owner || !may_trouble(1)) return;
    auto const owned = mesh_.node(*owner)->services().volumes->owned();
    if (owned.empty()) return;
    std::vector<usize> others;
    for (CoreletId id : owned.begin()->second.stream.open_segment)
        if (auto const i = mesh_.index_of(id); i && *i != *owner && troubles_[*i] == Trouble::kNone)
            others.push_back(*i);
    if (others.empty()) return;
    world_.stats().count("replica.crashed");
    crash(others[random_.below(others.size())], draw(50, 4'000));
}

// Whoever leads the catalog stops, is cut off, or dies; sometimes again just when it is back, with what it has said
// meanwhile.
void FaultAtlas::strike_leader() {
    auto const leader = mesh_.catalog_leader();
    if (!leader || troubles_[*leader] != Trouble::kNone || !may_trouble(1)) return;
    world_.stats().count("leader.struck");
    Duration const time = draw_outage();
    u64 const dice = random_.below(4);
    if (dice == 0) return crash(*leader, time);
    if (dice == 1) {
        pause(*leader, time);
    } else if (!cut_from_others(*leader, dice == 2, time)) {
        return;
    }
    if (random_.chance(1, 2)) after(time + draw(1, 1'000), &FaultAtlas::kill_if_sound, *leader);
}

// With somebody else: it does not know at once that others elect another leader, and may tell him what is no longer
// so.
void FaultAtlas::cut_leader_with_one() {
    auto const leader = mesh_.catalog_leader();
    auto const other = draw_sound();
    if (!leader || !other || *other == *leader || troubles_[*leader] != Trouble::kNone || !may_trouble(2)) return;
    world_.stats().count("leader.cut-with-one");
    troubles_[*leader] = troubles_[*other] = Trouble::kCut;
    cut({static_cast<u32>(*leader), static_cast<u32>(*other)}, all_but({*leader, *other}), draw(5'000, 9'000));
}

// A session is about to lapse as its holder is heard of again, and what the catalog commits takes long just then.
void FaultAtlas::delay_renewal() {
    auto const leader = mesh_.catalog_leader();
    auto const holder = draw_victim();
    if (!leader || !holder || *leader == *holder) return;
    world_.stats().count("session.late");
    troubles_[*holder] = Trouble::kCut;
    cut({static_cast<u32>(*holder)}, {static_cast<u32>(*leader)}, draw(2'900, 4'400));
    after(2'700_ms, &FaultAtlas::slow_all_disks, 0);
    after(4'900_ms, &FaultAtlas::quicken_all_disks, 0);
}

void FaultAtlas::slow_all_disks(usize /*unused*/) {
    if (over_) return;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (device_of(i) && troubles_[i] != Trouble::kSlow) device_of(i)->faults.slow_factor = 2'000;
    world_.stats().count_fault(sim::FaultKind::kSlowDisk);
}

void FaultAtlas::quicken_all_disks(usize /*unused*/) {
    for (usize i = 0; i < mesh_.size(); ++i)
        if (device_of(i) && troubles_[i] != Trouble::kSlow) device_of(i)->faults.slow_factor = 1;
}

void FaultAtlas::kill_if_sound(usize index) {
    if (over_ || troubles_[index] != Trouble::kNone || !may_trouble(1)) return;
    crash(index, draw(1'000, 6'000));
}

void FaultAtlas::cold_start() {
    world_.stats().count("cold-start");
    Duration const longest = draw(10, 3'000);
    for (usize i = 0; i < mesh_.size(); ++i)
        if (!mesh_.is_absent(i))
            crash(i, Duration{static_cast<i64>(1 + random_.below(static_cast<u64>(longest.ns)))});
}

void FaultAtlas::change_owner() {
    auto const target = draw_sound();
    auto const asked = draw_sound();
    if (!target || !asked || !mesh_.node(*asked) || !mesh_.node(*target)) return;
    world_.stats().count("move.asked");
    std::string const volume = volumes_[random_.below(volumes_.size())];
    mesh_.request(*asked, "volume.attach",
                  R"({"name":")" + volume + R"(","at":")" + to_string(mesh_.id(*target)) + R"("})");
}

// All corelets of one zone lose their power together, where the pool survives that.
void FaultAtlas::lose_rack() {
    usize const zones = mesh_.options().zones;
    usize const zone = random_.below(zones);
    std::vector<usize> members;
    for (usize i = zone; i < mesh_.size(); i += zones) {
        if (troubles_[i] != Trouble::kNone) return;
        if (mesh_.is_absent(i)) continue;
        members.push_back(i);
    }
    if (members.empty() || !may_trouble(members.size())) return;
    world_.stats().count_fault(sim::FaultKind::kRackLoss);
    Duration const down = draw(100, 4'000);
    for (usize i : members) crash(i, sim::Ending::kPower, down + draw(0, 1'000));
}

void FaultAtlas::pause_one() {
    if (auto const victim = draw_victim_or_owner()) pause(*victim, draw_outage());
}

void FaultAtlas::pause(usize index, Duration time) {
    troubles_[index] = Trouble::kPaused;
    mesh_.machine(index).pause();
    after(time, &FaultAtlas::resume, index);
}

void FaultAtlas::resume(usize index) {
    if (troubles_[index] != Trouble::kPaused) return;
    is_back(index);
    mesh_.machine(index).resume();
}

// By some table that still counts; one that could be reached by somebody may be in again before its cut has ended.
bool FaultAtlas::has_been_out(const mesh::Map& map, usize index) const {
    const mesh::Corelet* const its = map.find(mesh_.id(index));
    if (!its || index >= mesh_.options().corelets) return false;
    return its->presence == mesh::Presence::kOut || std::ranges::any_of(map.pools, [&](const mesh::Pool& pool) {
               return std::ranges::any_of(pool.tables, [&](auto const& table) { return !table->has(its->id); });
           });
}

// Whoever was put out meanwhile comes back with nothing but strays: it counts as lost until the mesh is whole.
void FaultAtlas::is_back(usize index) {
    troubles_[index] = Trouble::kNone;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (i != index && mesh_.node(i) && !over_ &&
            has_been_out(*mesh_.node(i)->services().maps->current(), index))
            troubles_[index] = Trouble::kFilling;
    if (troubles_[index] == Trouble::kFilling) whole_since_.reset();
    note_what_it_missed(index);
}

// Nobody waits with a put for who is down by the map.
void FaultAtlas::note_what_it_missed(usize index) {
    if (mesh_.is_absent(index)) return;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (i != index && mesh_.node(i) && !mesh_.node(i)->services().maps->current()->is_up(mesh_.id(index)))
            lacking_.insert(index);
}

// Works, but each turn comes late.
void FaultAtlas::slow_node() {
    auto const victim = draw_victim();
    if (!victim) return;
    world_.stats().count_fault(sim::FaultKind::kSlowNode);
    troubles_[*victim] = Trouble::kSlow;
    mesh_.machine(*victim).set_turn_delay(Duration{static_cast<i64>(u64{100'000} << random_.below(8))});
    after(draw(200, 5'000), &FaultAtlas::quicken, *victim);
}

void FaultAtlas::quicken(usize index) {
    if (troubles_[index] != Trouble::kSlow) return;
    troubles_[index] = Trouble::kNone;
    mesh_.machine(index).set_turn_delay({});
    if (sim::MediaFile* const device = device_of(index)) {
        device->faults.slow_factor = 1;
        device->faults.stuck_until = std::min(device->faults.stuck_until, world_.now());
    }
}

// Nothing may depend on the time of day: nobody is in trouble.
void FaultAtlas::jump_clock() {
    constexpr u64 k_most = 7'200'000'000'000;
    world_.stats().count_fault(sim::FaultKind::kClockJump);
    mesh_.machine(random_.below(mesh_.size()))
        .jump_wall_clock(Duration{static_cast<i64>(random_.below(2 * k_most)) - static_cast<i64>(k_most)});
}

void FaultAtlas::drift_clock() {
    constexpr u64 k_ppm_most = 5'000;  // two clocks differ by 1 %
    world_.stats().count_fault(sim::FaultKind::kClockDrift);
    mesh_.machine(random_.below(mesh_.size()))
        .set_drift(static_cast<i64>(random_.below(2 * k_ppm_most + 1)) - static_cast<i64>(k_ppm_most));
}

}  // namespace corelet
