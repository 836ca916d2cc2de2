#include "tests/mesh/fault_atlas.h"

#include "mesh/voters.h"

namespace corelet {

FaultAtlas::FaultAtlas(SimMesh& mesh, std::vector<std::string> volumes, FaultOptions options)
    : mesh_(mesh),
      world_(mesh.world()),
      volumes_(std::move(volumes)),
      options_(options),
      random_(world_.fork("fault atlas")),
      troubles_(mesh.size(), Trouble::kNone),
      self_(std::make_shared<FaultAtlas*>(this)) {}

FaultAtlas::~FaultAtlas() {
    *self_ = nullptr;
}

void FaultAtlas::after(Duration delay, void (FaultAtlas::*what)(usize), usize index) {
    world_.call_in(delay, [self = self_, what, index] {
        if (*self) ((*self)->*what)(index);
    });
}

void FaultAtlas::start() {
    began_ = world_.now();
    next_damage_ = began_ + draw(3'000, 30'000);
    world_.call_in(500_ms, [self = self_] {
        if (*self) (*self)->step();
    });
    look_whether_whole();
}

void FaultAtlas::look_whether_whole() {
    if (!is_whole()) {
        whole_since_.reset();
    } else if (!whole_since_) {
        whole_since_ = world_.now();
    }
    // What replaced a lost device is full again.
    if (whole_since_ && world_.now() - *whole_since_ >= options_.whole_for)
        for (Trouble& trouble : troubles_)
            if (trouble == Trouble::kFilling) trouble = Trouble::kNone;
    world_.call_in(250_ms, [self = self_] {
        if (*self) (*self)->look_whether_whole();
    });
}

void FaultAtlas::step() {
    if (over_) return;
    if (world_.now() - began_ >= options_.length) {
        over_ = true;
        return;
    }
    if (!wait_for_damage() && !wait_for_calm()) draw_fault();
    i64 const every = options_.every.ms();
    world_.call_in(draw(every / 4, every * 7 / 4), [self = self_] {
        if (*self) (*self)->step();
    });
}

// True while everything else is held back for it. A mesh that is not whole in time goes on without.
bool FaultAtlas::wait_for_damage() {
    if (!quiet_until_ && world_.now() >= next_damage_) quiet_until_ = world_.now() + 25_s;
    if (!quiet_until_) return false;
    bool const whole = whole_since_ && world_.now() - *whole_since_ >= options_.whole_for && troubled() == 0;
    if (!whole && world_.now() < *quiet_until_) return true;
    if (whole) damage_device();
    if (!whole) world_.stats().count("never-whole");
    quiet_until_.reset();
    next_damage_ = world_.now() + draw(3'000, 15'000);
    return true;
}

bool FaultAtlas::wait_for_calm() {
    if (!wish_) return false;
    if (troubled() != 0 && world_.now() < wish_until_) return true;
    Wish const wish = std::exchange(wish_, nullptr);
    if (troubled() == 0) (this->*wish)();
    return true;
}

void FaultAtlas::draw_fault() {
    u64 const dice = random_.below(100);
    if (dice < 6)
        crash_one();
    else if (dice < 13)
        crash_owner();
    else if (dice < 31)
        crash_at_some_await();
    else if (dice < 40)
        roll();
    else if (dice < 50)
        cut_one();
    else if (dice < 56)
        pause_one();
    else if (dice < 63)
        delay_links();
    else if (dice < 75)
        reset_streams();
    else if (dice < 87)
        change_owner();
    else {
        wish_ = dice < 90 ? &FaultAtlas::cut_many : &FaultAtlas::cold_start;
        wish_until_ = world_.now() + 5_s;
    }
}

usize FaultAtlas::troubled() const {
    return static_cast<usize>(std::count_if(troubles_.begin(), troubles_.end(),
                                            [](Trouble trouble) { return trouble != Trouble::kNone; }));
}

bool FaultAtlas::is_open() const {
    for (usize i = 0; i < troubles_.size(); ++i) {
        Trouble const trouble = troubles_[i];
        if (trouble == Trouble::kCut || trouble == Trouble::kPaused || trouble == Trouble::kSpoiled) return false;
        if (trouble == Trouble::kDown && mesh_.machine(i).is_up())
            return false;  // it dies at some await yet to come
    }
    return true;
}

std::optional<usize> FaultAtlas::draw_sound() {
    std::vector<usize> sound;
    for (usize i = 0; i < troubles_.size(); ++i)
        if (troubles_[i] == Trouble::kNone && mesh_.machine(i).is_up()) sound.push_back(i);
    if (sound.empty()) return std::nullopt;
    return sound[random_.below(sound.size())];
}

// --- crashes
// --------------------------------------------------------------------------------------------------------------

void FaultAtlas::crash(usize index, Duration down) {
    troubles_[index] = Trouble::kDown;
    mesh_.machine(index).crash(random_.chance(1, 2) ? sim::Ending::kKill : sim::Ending::kPower);
    after(down, &FaultAtlas::come_back, index);
}

void FaultAtlas::come_back(usize index) {
    if (troubles_[index] != Trouble::kDown) return;
    troubles_[index] = Trouble::kNone;
    // A crash that was due at some await may not have come yet; it must not come later.
    mesh_.machine(index).crash(sim::Ending::kKill);
    mesh_.start(index);
}

void FaultAtlas::crash_one() {
    auto const victim = draw_sound();
    if (!victim || !may_trouble(1)) return;
    crash(*victim, draw(50, 3'000));
}

void FaultAtlas::crash_owner() {
    auto const owner = mesh_.server_of(volumes_[random_.below(volumes_.size())]);
    if (!owner || troubles_[*owner] != Trouble::kNone || !may_trouble(1)) return;
    world_.stats().count("owner.crashed");
    crash(*owner, draw(50, 6'000));
}

void FaultAtlas::crash_at_some_await() {
    auto const victim = draw_sound();
    if (!victim || !may_trouble(1)) return;
    troubles_[*victim] = Trouble::kDown;
    auto const ending = random_.chance(1, 3) ? sim::Ending::kKill : sim::Ending::kPower;
    if (random_.chance(1, 3)) {
        mesh_.machine(*victim).crash_after_resumptions(1 + random_.below(5'000), ending);
    } else {
        mesh_.machine(*victim).crash_after_disk_operations(1 + random_.below(60), ending);
    }
    after(draw(300, 2'500), &FaultAtlas::come_back, *victim);
}

void FaultAtlas::roll() {
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

void FaultAtlas::cold_start() {
    world_.stats().count("cold-start");
    Duration const longest = draw(10, 3'000);
    for (usize i = 0; i < mesh_.size(); ++i)
        crash(i, Duration{static_cast<i64>(1 + random_.below(static_cast<u64>(longest.ns)))});
}

// --- network
// --------------------------------------------------------------------------------------------------------------

void FaultAtlas::cut_one() {
    auto const victim = draw_sound();
    if (!victim || !may_trouble(1)) return;
    Cut cut;
    cut.from.push_back(static_cast<u32>(*victim));
    cut.both_ways = random_.chance(1, 2);
    for (u32 other = 0; other < mesh_.size(); ++other)
        if (other != *victim && random_.chance(4, 5)) cut.to.push_back(other);
    if (cut.to.empty()) return;
    if (!cut.both_ways && random_.chance(1, 2)) std::swap(cut.from, cut.to);
    if (cut.both_ways) {
        world_.partition(cut.from, cut.to);
    } else {
        world_.partition_one_way(cut.from, cut.to);
        world_.stats().count_fault(sim::FaultKind::kPartitionOneWay);
    }
    troubles_[*victim] = Trouble::kCut;
    cuts_.push_back(std::move(cut));
    after(draw(100, 4'000), &FaultAtlas::mend, cuts_.size() - 1);
}

// Nobody is lost by it: whoever cannot go on waits.
void FaultAtlas::cut_many() {
    Cut cut;
    for (u32 i = 0; i < mesh_.size(); ++i) (random_.chance(1, 2) ? cut.from : cut.to).push_back(i);
    if (cut.from.empty() || cut.to.empty()) return;
    world_.partition(cut.from, cut.to);
    for (u32 i : cut.from) troubles_[i] = Trouble::kCut;
    cuts_.push_back(std::move(cut));
    after(draw(100, 6'000), &FaultAtlas::mend, cuts_.size() - 1);
}

void FaultAtlas::mend(usize index) {
    Cut& cut = cuts_[index];
    for (u32 a : cut.from)
        for (u32 b : cut.to) {
            world_.fabric().mend(a, b);
            if (cut.both_ways) world_.fabric().mend(b, a);
        }
    for (auto const* side : {&cut.from, &cut.to})
        for (u32 i : *side)
            if (troubles_[i] == Trouble::kCut) troubles_[i] = Trouble::kNone;
    cut = Cut{};
}

void FaultAtlas::pause_one() {
    auto const victim = draw_sound();
    if (!victim || !may_trouble(1)) return;
    troubles_[*victim] = Trouble::kPaused;
    mesh_.machine(*victim).pause();
    after(draw(100, 4'000), &FaultAtlas::resume, *victim);
}

void FaultAtlas::resume(usize index) {
    if (troubles_[index] != Trouble::kPaused) return;
    troubles_[index] = Trouble::kNone;
    mesh_.machine(index).resume();
}

void FaultAtlas::delay_links() {
    u32 const victim = static_cast<u32>(random_.below(mesh_.size()));
    for (u32 other = 0; other < mesh_.size(); ++other) {
        if (other == victim || !random_.chance(1, 2)) continue;
        world_.fabric().set_delay(victim, other, draw(1, 300));
        world_.fabric().set_delay(other, victim, draw(1, 300));
    }
    world_.stats().count_fault(sim::FaultKind::kDelay);
    after(draw(100, 4'000), &FaultAtlas::heal_delays, victim);
}

void FaultAtlas::heal_delays(usize victim) {
    for (u32 other = 0; other < mesh_.size(); ++other) {
        if (other == victim) continue;
        world_.fabric().set_delay(static_cast<u32>(victim), other, Duration{});
        world_.fabric().set_delay(other, static_cast<u32>(victim), Duration{});
    }
}

void FaultAtlas::reset_streams() {
    for (u64 i = random_.between(1, 6); i != 0; --i)
        (void)world_.fabric().reset_random_stream(random_, random_.chance(1, 4));
}

// --- people
// ---------------------------------------------------------------------------------------------------------------

void FaultAtlas::change_owner() {
    auto const target = draw_sound();
    auto const asked = draw_sound();
    if (!target || !asked || !mesh_.node(*asked) || !mesh_.node(*target)) return;
    world_.stats().count("move.asked");
    std::string const volume = volumes_[random_.below(volumes_.size())];
    mesh_.request(*asked, "volume.attach",
                  R"({"name":")" + volume + R"(","at":")" + to_string(mesh_.id(*target)) + R"("})");
}

// --- devices
// --------------------------------------------------------------------------------------------------------------

void FaultAtlas::damage_device() {
    auto const victim = draw_sound();
    if (!victim) return;
    sim::MediaFile* const device = mesh_.machine(*victim).media().find(mesh_.device_path(*victim));
    if (!device) return;
    u64 const dice = random_.below(100);
    if (dice < 20) return lose_device(*victim);
    troubles_[*victim] = Trouble::kSpoiled;
    if (dice < 40)
        rot_device(*device);
    else if (dice < 75)
        device->faults.fail_syncs = 1;
    else
        device->faults.fail_writes = 1;
    after(draw(2'000, 6'000), &FaultAtlas::crash_spoiled, *victim);
}

void FaultAtlas::lose_device(usize victim) {
    world_.stats().count_fault(sim::FaultKind::kDeviceLoss);
    troubles_[victim] = Trouble::kSpoiled;
    mesh_.machine(victim).crash(random_.chance(1, 2) ? sim::Ending::kKill : sim::Ending::kPower);
    after(draw(100, 8'000), &FaultAtlas::replace, victim);
}

void FaultAtlas::rot_device(sim::MediaFile& device) {
    for (u64 i = random_.between(1, 12); i != 0; --i) {
        auto const page = device.random_used_page(random_);
        if (!page) return;
        device.flip_bit(*page * k_block_bytes + random_.below(k_block_bytes), static_cast<u32>(random_.below(8)));
        world_.stats().count_fault(sim::FaultKind::kBitRot);
    }
}

// A device that has rotted or failed is taken out.
void FaultAtlas::crash_spoiled(usize index) {
    if (troubles_[index] != Trouble::kSpoiled) return;
    world_.stats().count_fault(sim::FaultKind::kDeviceLoss);
    mesh_.machine(index).crash();
    after(draw(100, 8'000), &FaultAtlas::replace, index);
}

void FaultAtlas::replace(usize index) {
    if (troubles_[index] != Trouble::kSpoiled || mesh_.machine(index).is_up()) return;
    troubles_[index] = Trouble::kFilling;
    whole_since_.reset();
    mesh_.start_empty(index);
}

void FaultAtlas::mend_all() {
    over_ = true;
    world_.heal_network();
    for (Cut& cut : cuts_) cut = Cut{};
    for (usize i = 0; i < mesh_.size(); ++i) {
        if (troubles_[i] == Trouble::kPaused) mesh_.machine(i).resume();
        if (troubles_[i] == Trouble::kDown) come_back(i);
        if (troubles_[i] == Trouble::kSpoiled) {
            mesh_.machine(i).crash();
            replace(i);
        }
        if (!mesh_.machine(i).is_up()) mesh_.start(i);
        if (troubles_[i] != Trouble::kFilling) troubles_[i] = Trouble::kNone;
    }
}

// --- what is whole
// --------------------------------------------------------------------------------------------------------

bool FaultAtlas::is_whole() const {
    return what_is_missing().empty();
}

std::string FaultAtlas::what_is_missing() const {
    for (usize i = 0; i < mesh_.size(); ++i)
        if (!mesh_.node(i)) return "c" + std::to_string(i + 1) + " is not up";
    for (usize i = 0; i < mesh_.size(); ++i) {
        NodeServices& services = mesh_.node(i)->services();
        std::string const at = " at c" + std::to_string(i + 1);
        auto const map = services.maps->current();
        if (!services.own_trouble.empty()) return services.own_trouble + at;
        for (usize j = 0; j < mesh_.size(); ++j)
            if (!map->is_up(mesh_.id(j))) return "c" + std::to_string(j + 1) + " is not up in the map" + at;
        for (const mesh::Corelet& corelet : map->corelets)
            // Whose device is gone is lost, also while nobody has noticed.
            if ((!corelet.is_up() || !mesh_.index_of(corelet.id)) && corelet.presence != mesh::Presence::kOut)
                return to_string(corelet.id) + " is not out yet" + at;
        for (const mesh::Pool& pool : map->pools) {
            if (pool.tables.size() > 1) return std::to_string(pool.tables.size()) + " tables" + at;
            for (u32 slot = 0; slot < pool.current().slots(); ++slot)
                if (!map->slot_in_service(pool, slot))
                    return "slot " + std::to_string(slot) + " is not in service" + at;
        }
        auto const voters = services.catalog->voters();
        if (voters.size() != mesh::voters_wanted(*map)) return std::to_string(voters.size()) + " voters" + at;
        for (CoreletId id : voters)
            if (!map->is_up(id)) return "a voter is not up" + at;
        if (services.healer && services.healer->status().fragments_missing != 0)
            return std::to_string(services.healer->status().fragments_missing) + " fragments missing" + at;
        for (const KeyValue& item : services.catalog->local_range("streams/").items) {
            pb::Stream stream;
            if (!stream.ParseFromString(item.value)) return "a stream's record does not parse" + at;
            for (const pb::Segment& segment : stream.segments())
                for (u64 replica : segment.replicas())
                    if (!map->is_up(CoreletId(replica)))
                        return "segment " + std::to_string(segment.seq()) + " in state " +
                               std::to_string(segment.state()) + " has a replica on " + hex64(replica) + at;
        }
    }
    for (const std::string& name : volumes_) {
        auto const servers = mesh_.servers_of(name);
        if (servers.size() != 1) return name + " is served by " + std::to_string(servers.size());
        auto const owned = mesh_.node(servers.front())->services().volumes->owned().at(name);
        if (owned.stream.stuck) return name + " waits for " + owned.stream.waiting_for;
        if (owned.stream.open_segment.size() < owned.stream.width_wanted) return name + " has a narrow log";
    }
    return {};
}

}  // namespace corelet
