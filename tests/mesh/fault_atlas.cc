#include "tests/mesh/fault_atlas.h"

#include "mesh/voters.h"
#include "sim/fault_plan.h"

namespace corelet {

const std::vector<FaultAtlas::Class> FaultAtlas::k_classes{
    {"kill", Class::When::kAnyTime, 6, &FaultAtlas::kill_one},
    {"power-loss", Class::When::kAnyTime, 6, &FaultAtlas::cut_power_of_one},
    {"owner-crash", Class::When::kAnyTime, 8, &FaultAtlas::crash_owner},
    {"crash-at-await", Class::When::kAnyTime, 16, &FaultAtlas::crash_at_some_await},
    {"replica-crash", Class::When::kAnyTime, 9, &FaultAtlas::crash_replica},
    {"rack-loss", Class::When::kAnyTime, 4, &FaultAtlas::lose_rack},
    {"pause", Class::When::kAnyTime, 6, &FaultAtlas::pause_one},
    {"slow-node", Class::When::kAnyTime, 4, &FaultAtlas::slow_node},
    {"clock-jump", Class::When::kAnyTime, 3, &FaultAtlas::jump_clock},
    {"clock-drift", Class::When::kAnyTime, 3, &FaultAtlas::drift_clock},
    {"partition", Class::When::kAnyTime, 7, &FaultAtlas::cut_one},
    {"partition-one-way", Class::When::kAnyTime, 5, &FaultAtlas::cut_one_way},
    {"partition-pair", Class::When::kAnyTime, 6, &FaultAtlas::cut_pair},
    {"clog", Class::When::kAnyTime, 4, &FaultAtlas::clog_links},
    {"delay", Class::When::kAnyTime, 6, &FaultAtlas::delay_links},
    {"reset", Class::When::kAnyTime, 9, &FaultAtlas::reset_streams},
    {"half-open", Class::When::kAnyTime, 4, &FaultAtlas::half_open_streams},
    {"slow-disk", Class::When::kAnyTime, 4, &FaultAtlas::slow_disk},
    {"stuck-disk", Class::When::kAnyTime, 4, &FaultAtlas::stick_disk},
    {"moment", Class::When::kAnyTime, 30, &FaultAtlas::strike_at_moment},
    {"move", Class::When::kAnyTime, 10, &FaultAtlas::change_owner},
    {"move-paused", Class::When::kAnyTime, 4, &FaultAtlas::move_and_pause},
    {"leader", Class::When::kAnyTime, 8, &FaultAtlas::strike_leader},
    {"leader-with-one", Class::When::kAnyTime, 4, &FaultAtlas::cut_leader_with_one},
    {"late-renewal", Class::When::kAnyTime, 3, &FaultAtlas::delay_renewal},
    {"owner-crash-after-rolls", Class::When::kAnyTime, 6, &FaultAtlas::crash_owner_after_rolls},
    {"owner-isolated", Class::When::kAnyTime, 5, &FaultAtlas::isolate_and_crash_owner},
    {"owner-without-catalog", Class::When::kAnyTime, 5, &FaultAtlas::cut_owner_from_catalog},
    {"replicas-crash", Class::When::kAnyTime, 5, &FaultAtlas::crash_replicas},
    {"recovery", Class::When::kAnyTime, 6, &FaultAtlas::trouble_recovery},
    {"late-prepare", Class::When::kAnyTime, 4, &FaultAtlas::repeat_prepare},
    {"partition-many", Class::When::kCalm, 4, &FaultAtlas::cut_many},
    {"cold-start", Class::When::kCalm, 9, &FaultAtlas::cold_start},
    {"device-loss", Class::When::kWhole, 20, &FaultAtlas::lose_device},
    {"bit-rot", Class::When::kWhole, 15, &FaultAtlas::rot_device},
    {"latent-error", Class::When::kWhole, 10, &FaultAtlas::spoil_sectors},
    {"failed-sync", Class::When::kWhole, 30, &FaultAtlas::fail_sync},
    {"failed-write", Class::When::kWhole, 20, &FaultAtlas::fail_write},
    {"misdirected", Class::When::kWhole, 10, &FaultAtlas::misdirect},
    {"old-device", Class::When::kWhole, 15, &FaultAtlas::bring_back_old_device},
    {"silent-replicas", Class::When::kWhole, 20, &FaultAtlas::silent_replicas, 2},
    {"helpless-owner", Class::When::kWhole, 15, &FaultAtlas::helpless_owner, 0},
    {"silent-holders", Class::When::kWhole, 20, &FaultAtlas::silent_holders, 0},
    {"catalog-outage", Class::When::kWhole, 20, &FaultAtlas::catalog_outage, 0},
    {"detach", Class::When::kAnyTime, 6, &FaultAtlas::detach_volume, 0},
    {"log-rot", Class::When::kWhole, 15, &FaultAtlas::rot_log},
    {"log-end-rot", Class::When::kWhole, 15, &FaultAtlas::rot_log_end},
    {"journal-rot", Class::When::kWhole, 15, &FaultAtlas::rot_journal},
    {"garbled-reads", Class::When::kWhole, 10, &FaultAtlas::garble_reads},
    {"source-rot", Class::When::kAnyTime, 10, &FaultAtlas::rot_sources},
    {"source-swap", Class::When::kAnyTime, 10, &FaultAtlas::swap_sources, 0},
    {"stray-rot", Class::When::kAnyTime, 10, &FaultAtlas::rot_stray_homes, 0},
    {"liar", Class::When::kWhole, 20, &FaultAtlas::begin_to_lie, 0},
    {"pool-change", Class::When::kAnyTime, 10, &FaultAtlas::change_pool, 0},
    {"join", Class::When::kAnyTime, 5, &FaultAtlas::join_one, 0},
    {"leave", Class::When::kAnyTime, 5, &FaultAtlas::leave_one, 0},
    {"cordon", Class::When::kAnyTime, 4, &FaultAtlas::cordon_one, 0},
    {"pause-healing", Class::When::kAnyTime, 3, &FaultAtlas::pause_healing, 0},
    {"voter-change", Class::When::kAnyTime, 8, &FaultAtlas::strike_voter_change, 0},
    {"zone-loss", Class::When::kWhole, 20, &FaultAtlas::lose_zone, 0},
    {"mounted-twice", Class::When::kWhole, 20, &FaultAtlas::mount_twice, 0},
};

std::vector<std::string> FaultAtlas::classes() {
    std::vector<std::string> out;
    for (const Class& its : k_classes) out.emplace_back(its.name);
    out.emplace_back("datagrams");
    return out;
}

Result<void> FaultAtlas::check_classes(const std::vector<std::string>& names) {
    auto const known = classes();
    for (const std::string& name : names)
        if (std::ranges::find(known, name) == known.end())
            return fail(Code::kInvalid, "there is no class of faults '" + name + "'");
    return {};
}

// Each class draws from a stream of its own: leaving one out changes nothing about the others. Where few are on,
// those come often: so many may be in trouble at once.
void FaultAtlas::draw_classes() {
    u64 const of_six = world_.fork("fault classes").between(2, 4);
    auto const is_on = [&](std::string_view name, u32 sixths) {
        bool const drawn = world_.fork("fault class").fork(name).chance(std::min<u64>(sixths, of_six), 6);
        if (std::ranges::find(options_.without, name) != options_.without.end()) return false;
        return options_.only.empty() ? drawn : std::ranges::find(options_.only, name) != options_.only.end();
    };
    for (const Class& its : k_classes)
        if (is_on(its.name, its.sixths)) on_.push_back(&its);
    if (!is_on("datagrams", 6)) return;
    auto& model = world_.fabric().model;
    model.datagram_loss_per_million = static_cast<u32>(random_.below(100'000));
    model.datagram_duplicate_per_million = static_cast<u32>(random_.below(100'000));
    model.datagram_reorder_per_million = static_cast<u32>(random_.below(100'000));
}

const FaultAtlas::Class* FaultAtlas::draw_class(bool whole) {
    u32 all = 0;
    for (const Class* its : on_)
        if ((its->when == Class::When::kWhole) == whole) all += its->weight;
    if (all == 0) return nullptr;
    u64 dice = random_.below(all);
    for (const Class* its : on_) {
        if ((its->when == Class::When::kWhole) != whole) continue;
        if (dice < its->weight) return its;
        dice -= its->weight;
    }
    CORELET_UNREACHABLE("a die beyond its sides");
}

void FaultAtlas::begin(const Class& drawn) {
    world_.stats().count(std::string("fault.") + drawn.name);
    if (world_.trace().is_printing()) world_.trace().note(0, std::string("fault class ") + drawn.name);
    calm_since_ = world_.now();
    (this->*drawn.begin)();
}

FaultAtlas::FaultAtlas(SimMesh& mesh, std::vector<std::string> volumes, FaultOptions options)
    : mesh_(mesh),
      world_(mesh.world()),
      volumes_(std::move(volumes)),
      options_(options),
      random_(world_.fork("fault atlas")),
      troubles_(mesh.size(), Trouble::kNone),
      in_service_(mesh.size()),
      damaged_(mesh.size()),
      self_(std::make_shared<FaultAtlas*>(this)) {}

FaultAtlas::~FaultAtlas() {
    *self_ = nullptr;
    if (armed_fault_points != nullptr) armed_fault_points->on_moment = {};
}

void FaultAtlas::after(Duration delay, void (FaultAtlas::*what)(usize), usize index) {
    world_.call_in(delay, [self = self_, what, index] {
        if (!*self) return;
        (*self)->calm_since_ = (*self)->world_.now();
        ((*self)->*what)(index);
    });
}

void FaultAtlas::start() {
    began_ = world_.now();
    calm_since_ = began_;
    next_damage_ = began_ + draw(3'000, 30'000);
    draw_classes();
    Prng crowd = world_.fork("crowd");
    if (crowd.chance(1, 3)) crowd_ = crowd.between(1, 2);
    if (armed_fault_points != nullptr)
        armed_fault_points->on_moment = [this](const FaultPoints::Moment& moment) { at_moment(moment); };
    if (options_.lying) begin_lying();
    world_.call_in(500_ms, [self = self_] {
        if (*self) (*self)->step();
    });
    look_whether_whole();
}

void FaultAtlas::look_whether_whole() {
    bool const troubled = std::ranges::any_of(
        troubles_, [](Trouble trouble) { return trouble != Trouble::kNone && trouble != Trouble::kFilling; });
    if (troubled || !is_whole()) {
        whole_since_.reset();
    } else if (!whole_since_) {
        whole_since_ = world_.now();
        lacking_.clear();
    }
    // What replaced a lost device is full again.
    if (whole_since_ && world_.now() - *whole_since_ >= options_.whole_for)
        for (Trouble& trouble : troubles_)
            if (trouble == Trouble::kFilling) trouble = Trouble::kNone;
    remember_device();
    remember_segments();
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
    if (drill_ && world_.now() >= drill_->until) drill_.reset();
    if (!drill_ && !wait_for_damage() && !wait_for_calm()) draw_fault();
    i64 const every = options_.every.ms();
    world_.call_in(draw(every / 4, every * 7 / 4), [self = self_] {
        if (*self) (*self)->step();
    });
}

// True while everything else is held back for it. A mesh that is not whole in time goes on without.
bool FaultAtlas::wait_for_damage() {
    if (!quiet_until_ && world_.now() >= next_damage_) quiet_until_ = world_.now() + 25_s;
    if (!quiet_until_) return false;
    bool const whole = is_whole_for_long() || options_.beyond;
    if (!whole && world_.now() < *quiet_until_) return true;
    if (const Class* const drawn = whole ? draw_class(true) : nullptr) begin(*drawn);
    if (!whole) world_.stats().count("never-whole");
    quiet_until_.reset();
    next_damage_ = world_.now() + draw(3'000, 15'000);
    return true;
}

bool FaultAtlas::wait_for_calm() {
    if (!wish_) return false;
    if (troubled() != 0 && world_.now() < wish_until_) return true;
    const Class* const wish = std::exchange(wish_, nullptr);
    if (troubled() == 0) begin(*wish);
    return true;
}

void FaultAtlas::draw_fault() {
    const Class* const drawn = draw_class(false);
    if (!drawn) return;
    if (drawn->when == Class::When::kAnyTime) return begin(*drawn);
    wish_ = drawn;
    wish_until_ = world_.now() + 5_s;
}

usize FaultAtlas::troubled() const {
    return static_cast<usize>(std::count_if(troubles_.begin(), troubles_.end(),
                                            [](Trouble trouble) { return trouble != Trouble::kNone; }));
}

std::optional<usize> FaultAtlas::draw_victim_or_owner() {
    auto const owner = mesh_.server_of(volumes_[random_.below(volumes_.size())]);
    if (!owner || troubles_[*owner] != Trouble::kNone || random_.chance(1, 2)) return draw_victim();
    return may_trouble(1) ? owner : std::nullopt;
}

bool FaultAtlas::is_open() const {
    for (usize i = 0; i < troubles_.size(); ++i) {
        Trouble const trouble = troubles_[i];
        if (trouble != Trouble::kNone && trouble != Trouble::kDown && trouble != Trouble::kFilling) return false;
        if (trouble == Trouble::kDown && mesh_.machine(i).is_up())
            return false;  // it dies at some await yet to come
    }
    return true;
}

bool FaultAtlas::is_whole_for_long() const {
    return whole_since_ && world_.now() - *whole_since_ >= options_.whole_for && troubled() == 0;
}

bool FaultAtlas::is_beyond_promise(usize server) const {
    if (!mesh_.node(server)) return false;
    auto const map = mesh_.node(server)->services().maps->current();
    usize away = 0, out = 0, lacking = 0;
    std::set<usize> zones;
    for (usize i = 0; i < troubles_.size(); ++i) {
        if (mesh_.is_absent(i)) continue;
        bool const is_out = has_been_out(*map, i) || troubles_[i] == Trouble::kFilling;
        away += is_troubled(i) || !map->is_up(mesh_.id(i));
        out += is_out;
        lacking += !is_out && lacking_.contains(i);
        if (is_troubled(i) || !map->is_up(mesh_.id(i)) || is_out || lacking_.contains(i))
            zones.insert(i % mesh_.options().zones);
    }
    if (options_.zones_survive && zones.size() <= 1) return false;
    // A put goes on without all but one of as many as may be lost.
    usize const missed = std::min<usize>(lacking, std::max<usize>(options_.promise, 1) - 1);
    return (crowd_ != 0 && away > options_.promise) || out + missed > options_.promise;
}

std::set<usize> FaultAtlas::spoiled() const {
    std::set<usize> out;
    for (usize i = 0; i < troubles_.size(); ++i)
        if (is_spoiled(i)) out.insert(i);
    return out;
}

std::optional<usize> FaultAtlas::draw_victim() {
    auto const victim = draw_sound();
    return may_trouble(1) ? victim : std::nullopt;
}

std::optional<usize> FaultAtlas::draw_sound() {
    std::vector<usize> sound;
    for (usize i = 0; i < troubles_.size(); ++i)
        if (troubles_[i] == Trouble::kNone && mesh_.machine(i).is_up()) sound.push_back(i);
    if (sound.empty()) return std::nullopt;
    return sound[random_.below(sound.size())];
}

void FaultAtlas::mend_all() {
    over_ = true;
    calm_since_ = world_.now();
    drill_.reset();
    garbling_.reset();
    quicken_all_disks(0);
    sim::FaultPlan{}.apply_to(world_.fabric().model);
    world_.heal_network();
    for (Cut& cut : cuts_) cut = Cut{};
    for (usize i = 0; i < mesh_.size(); ++i) {
        if (mesh_.is_absent(i)) continue;
        if (troubles_[i] == Trouble::kPaused) mesh_.machine(i).resume();
        if (troubles_[i] == Trouble::kSlow) quicken(i);
        if (troubles_[i] == Trouble::kDown) come_back(i);
        // What was to be undone is: another's device may be new, and two are more than the voters bear.
        if (std::ranges::any_of(rots_, [i](const Rot& rot) { return rot.index == i; })) undo_rot(i);
        if (troubles_[i] == Trouble::kSpoiled) {
            mesh_.machine(i).crash();
            replace(i);
        }
        if (!mesh_.machine(i).is_up()) mesh_.start(i);
        if (troubles_[i] != Trouble::kFilling && troubles_[i] != Trouble::kOld) troubles_[i] = Trouble::kNone;
    }
    for (usize volume = 0; volume < volumes_.size(); ++volume)
        if (detached_.contains(volume)) attach_again(volume);
    if (cordoned_) uncordon(0);
    resume_healing(0);
}

// --- what is whole
// --------------------------------------------------------------------------------------------------------

bool FaultAtlas::is_whole() const {
    return what_is_missing().empty();
}

std::string FaultAtlas::what_is_missing() const {
    if (!leaves_.empty()) return "c" + std::to_string(leaves_.begin()->first + 1) + " is leaving";
    for (usize i = 0; i < mesh_.size(); ++i)
        if (!mesh_.node(i) && !mesh_.is_absent(i)) return "c" + std::to_string(i + 1) + " is not up";
    for (usize i = 0; i < mesh_.size(); ++i) {
        if (mesh_.is_absent(i)) continue;
        NodeServices& services = mesh_.node(i)->services();
        std::string const at = " at c" + std::to_string(i + 1);
        auto const map = services.maps->current();
        if (!services.own_trouble.empty()) return services.own_trouble + at;
        for (usize j = 0; j < mesh_.size(); ++j)
            if (!mesh_.is_absent(j) && !map->is_up(mesh_.id(j)))
                return "c" + std::to_string(j + 1) + " is not up in the map" + at;
        for (const mesh::Corelet& corelet : map->corelets)
            // Whose device is gone is lost, also while nobody has noticed.
            if ((!corelet.is_up() || !mesh_.index_of(corelet.id)) && corelet.presence != mesh::Presence::kOut)
                return to_string(corelet.id) + " is not out yet" + at;
        for (const mesh::Pool& pool : map->pools) {
            if (pool.tables.size() > 1) return std::to_string(pool.tables.size()) + " tables" + at;
            if (map == in_service_[i]) continue;
            for (u32 slot = 0; slot < pool.current().slots(); ++slot)
                if (!map->slot_in_service(pool, slot))
                    return "slot " + std::to_string(slot) + " is not in service" + at;
        }
        in_service_[i] = map;
        auto const voters = services.catalog->voters();
        if (voters.size() != mesh::voters_wanted(*map)) return std::to_string(voters.size()) + " voters" + at;
        for (CoreletId id : voters)
            if (!map->is_up(id)) return "a voter is not up" + at;
        if (services.healer && services.healer->status().fragments_missing != 0)
            return std::to_string(services.healer->status().fragments_missing) + " fragments missing" + at;
        for (auto const& [key, item] : services.catalog->local().items("streams/")) {
            pb::Stream stream;
            if (!stream.ParseFromString(item.value)) return "a stream's record does not parse" + at;
            for (const pb::Segment& segment : stream.segments()) {
                // A narrow one is listed while it is used.
                if (segment.state() != pb::Segment::DORMANT &&
                    static_cast<usize>(segment.replicas_size()) < options_.copies)
                    return "segment " + std::to_string(segment.seq()) + " has " +
                           std::to_string(segment.replicas_size()) + " copies" + at;
                for (u64 replica : segment.replicas())
                    if (!map->is_up(CoreletId(replica)))
                        return "segment " + std::to_string(segment.seq()) + " in state " +
                               std::to_string(segment.state()) + " has a replica on " + hex64(replica) + at;
            }
        }
    }
    for (const std::string& name : volumes_) {
        auto const servers = mesh_.servers_of(name);
        if (servers.size() != 1) return name + " is served by " + std::to_string(servers.size());
        auto const stream = mesh_.stream_status(servers.front(), name);
        CORELET_ASSERT(stream, "who serves a volume owns it");
        if (stream->stuck) return name + " waits for " + stream->waiting_for;
        if (stream->open_segment.size() < stream->width_wanted) return name + " has a narrow log";
    }
    return {};
}

}  // namespace corelet
