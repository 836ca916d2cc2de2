// Who is in the mesh changes: corelets join in the middle of a run, are drained and removed, are cordoned for a
// while; people hold up healing, a whole zone is gone, a device is mounted twice, and voters are struck while they
// are being changed.
#include "stream/stream_record.h"
#include "tests/mesh/fault_atlas.h"

namespace corelet {

namespace {

constexpr Duration k_ask_leaving_every = 500_ms;
constexpr Duration k_answer_within = 8_s;     // else it is asked again: whom it was asked may be gone
constexpr usize k_present_least = 8;          // before somebody leaves one more is there
constexpr usize k_present_in_zone_least = 2;  // and so many more in its zone: two of a row lie there

std::string named(CoreletId id) {
    return R"({"id":")" + to_string(id) + R"("})";
}

bool says_safe(const std::shared_ptr<std::optional<Result<std::string>>>& answer) {
    return answer->has_value() && answer->value().has_value() &&
           answer->value()->find(R"("safe_to_remove":true)") != std::string::npos;
}

}  // namespace

std::vector<usize> FaultAtlas::present_in_zone(usize zone) const {
    std::vector<usize> out;
    for (usize i = zone; i < mesh_.size(); i += mesh_.options().zones)
        if (!mesh_.is_absent(i)) out.push_back(i);
    return out;
}

// With an empty device; as a spare every other time, which stores nothing until somebody is lost.
void FaultAtlas::join_one() {
    std::vector<usize> absent;
    for (usize i = 0; i < mesh_.size(); ++i)
        if (mesh_.is_absent(i)) absent.push_back(i);
    if (absent.empty()) return;
    usize const index = absent[random_.below(absent.size())];
    bool const as_spare = random_.chance(1, 2);
    world_.stats().count(as_spare ? "joined.spare" : "joined");
    CORELET_ASSERT(troubles_[index] == Trouble::kNone);
    damaged_[index] = false;
    memories_.erase(index);
    lacking_.erase(index);
    whole_since_.reset();
    mesh_.join(index, as_spare ? mesh::Role::kSpare : mesh::Role::kStorage);
}

// Voters rather than others: then the catalog has to change, too.
std::optional<usize> FaultAtlas::draw_leaver() {
    auto const asked = draw_sound();
    usize present = 0;
    for (usize i = 0; i < mesh_.size(); ++i) present += !mesh_.is_absent(i);
    if (!asked || !mesh_.node(*asked) || present <= k_present_least) return std::nullopt;
    auto const voters = mesh_.node(*asked)->services().catalog->voters();
    std::vector<usize> found;
    for (usize i = 0; i < mesh_.options().corelets; ++i) {
        bool const is_sound = troubles_[i] == Trouble::kNone && mesh_.node(i) && !mesh_.is_absent(i);
        usize const beside = present_in_zone(i % mesh_.options().zones).size();
        if (!is_sound || beside <= k_present_in_zone_least) continue;
        found.push_back(i);
        if (std::ranges::find(voters, mesh_.id(i)) != voters.end()) found.insert(found.end(), 2, i);
    }
    if (found.empty()) return std::nullopt;
    return found[random_.below(found.size())];
}

void FaultAtlas::leave_one() {
    if (!leaves_.empty()) return;
    auto const index = draw_leaver();
    if (!index) return;
    world_.stats().count("leave.begun");
    leaves_[*index] = Leave{mesh_.id(*index), {}, {}, false, {}};
    look_at_leave(*index);
}

// As a person would: drained until it is said to be safe, then removed, then switched off, perhaps some time after.
void FaultAtlas::look_at_leave(usize index) {
    auto const leave = leaves_.find(index);
    if (leave == leaves_.end()) return;
    if (mesh_.id(index) != leave->second.id) {  // its device was lost meanwhile, and another one is in its place
        world_.stats().count("leave.replaced");
        leaves_.erase(leave);
        return;
    }
    after(k_ask_leaving_every, &FaultAtlas::look_at_leave, index);
    auto const asked = mesh_.catalog_leader();
    if (!asked || !mesh_.node(*asked)) return;
    auto const map = mesh_.node(*asked)->services().maps->current();
    Leave& its = leave->second;
    if (!map->find(its.id)) {
        if (!its.until) {
            damaged_[index] = true;
            its.until = world_.now() + (random_.chance(1, 2) ? draw(1'000, 12'000) : Duration{});
            if (world_.now() < *its.until) world_.stats().count("left.runs-on");
        }
        if (world_.now() >= *its.until) see_off(index);
        return;
    }
    bool const answered = its.answer && its.answer->has_value();
    if (its.answer && !answered && world_.now() - its.asked < k_answer_within) return;
    bool const is_out = map->find(its.id)->presence == mesh::Presence::kOut;
    bool const remove = answered && (is_out || (!its.removes && says_safe(its.answer)));
    its.removes = remove;
    its.asked = world_.now();
    its.answer = mesh_.request(*asked, remove ? "corelet.remove" : "corelet.drain", named(its.id));
}

void FaultAtlas::see_off(usize index) {
    world_.stats().count("left");
    leaves_.erase(index);
    troubles_[index] = Trouble::kNone;
    damaged_[index] = false;
    memories_.erase(index);
    former_.erase(index);
    lacking_.erase(index);
    std::erase_if(rots_, [index](const Rot& rot) { return rot.index == index; });
    if (garbling_ == index) garbling_.reset();
    mesh_.take_away(index);
}

void FaultAtlas::cordon_one() {
    auto const index = draw_sound();
    auto const asked = draw_sound();
    if (cordoned_ || !index || !asked || !mesh_.node(*asked)) return;
    world_.stats().count("cordoned");
    cordoned_ = mesh_.id(*index);
    mesh_.request(*asked, "corelet.cordon", named(*cordoned_));
    after(draw(8'000, 25'000), &FaultAtlas::uncordon, 0);
}

// Asked until it is so.
void FaultAtlas::uncordon(usize) {
    auto const asked = draw_sound();
    if (!cordoned_) return;
    if (asked && mesh_.node(*asked)) {
        const mesh::Corelet* const corelet = mesh_.node(*asked)->services().maps->current()->find(*cordoned_);
        if (uncordoning_ && (!corelet || !corelet->cordoned)) {
            cordoned_.reset();
            uncordoning_ = false;
            return;
        }
        uncordoning_ = true;
        mesh_.request(*asked, "corelet.uncordon", named(*cordoned_));
    }
    after(2_s, &FaultAtlas::uncordon, 0);
}

// Somebody works on the machines, or on one of them: nothing is given up or moved meanwhile. It ends by itself, or
// when it is called off.
void FaultAtlas::pause_healing() {
    auto const asked = draw_sound();
    if (!asked || !mesh_.node(*asked)) return;
    world_.stats().count("healing.paused");
    Duration const length = draw(6'000, 18'000);
    mesh_.request(*asked, "healing.pause", R"({"length_ms":)" + std::to_string(length.ms()) + "}");
    if (random_.chance(1, 2)) {
        if (auto const victim = draw_victim()) crash(*victim, length - 1_s);
    } else if (random_.chance(1, 2)) {
        after(draw(2'000, 8'000), &FaultAtlas::resume_healing, 0);
    }
}

void FaultAtlas::resume_healing(usize) {
    auto const asked = draw_sound();
    if (!asked || !mesh_.node(*asked)) return;
    world_.stats().count("healing.resumed");
    mesh_.request(*asked, "healing.resume", "{}");
}

// All of a zone at once, where the pool is spread over zones: without power, or cut off from all others. Some for
// so long that they are given up.
void FaultAtlas::lose_zone() {
    if (!options_.zones_survive) return;
    usize const zone = random_.below(mesh_.options().zones);
    auto const members = present_in_zone(zone);
    if (members.empty() || !is_zone_spared(members)) {
        world_.stats().count("zone-loss.not-borne");
        return;
    }
    world_.stats().count("zone.lost");
    world_.stats().count_fault(sim::FaultKind::kRackLoss);
    Duration const down = random_.chance(1, 3) ? draw(8'000, 16'000) : draw(100, 6'000);
    drill_ = Drill{world_.now() + down + 1_s, {}, std::nullopt};
    if (random_.chance(1, 3)) {
        std::vector<u32> these, others;
        for (u32 i = 0; i < mesh_.size(); ++i)
            (std::ranges::find(members, i) != members.end() ? these : others).push_back(i);
        for (usize i : members) troubles_[i] = Trouble::kCut;
        return cut(std::move(these), std::move(others), down);
    }
    for (usize i : members) crash(i, sim::Ending::kPower, down + draw(0, 1'000));
}

// Everything that is needed is left without them: votes, a copy of each segment, fragments of each slot.
bool FaultAtlas::is_zone_spared(const std::vector<usize>& members) const {
    auto const leader = mesh_.catalog_leader();
    if (!leader) return false;
    NodeServices& services = mesh_.node(*leader)->services();
    auto const is_of_them = [&](CoreletId id) {
        return std::ranges::any_of(members, [&](usize i) { return mesh_.id(i) == id; });
    };
    auto const voters = services.catalog->voters();
    auto const votes = static_cast<usize>(std::ranges::count_if(voters, is_of_them));
    if (2 * (voters.size() - votes) <= voters.size()) return false;
    auto const map = services.maps->current();
    for (const mesh::Pool& pool : map->pools)
        for (u32 slot = 0; slot < pool.current().slots(); ++slot) {
            auto const row = pool.current().row(slot);
            if (std::ranges::count_if(row, is_of_them) > pool.spec.redundancy.m) return false;
        }
    for (auto const& [key, item] : services.catalog->local().items("streams/")) {
        pb::Stream stream;
        if (!stream.ParseFromString(item.value)) return false;
        for (const pb::Segment& segment : stream.segments())
            if (segment.state() != pb::Segment::DORMANT &&
                std::ranges::all_of(segment.replicas(), [&](u64 id) { return is_of_them(CoreletId(id)); }))
                return false;
    }
    return true;
}

// A copy of somebody's device is mounted elsewhere: of one that was down, which comes back beside it, or of one
// that runs. One of the two is the corelet, the other one stops.
void FaultAtlas::mount_twice() {
    auto const victim = draw_sound();
    if (twins_ || !victim || !mesh_.node(*victim) || mesh_.options().spare_machines == 0) return;
    usize const copy = mesh_.spare(0);
    if (mesh_.machine(copy).is_up()) return;
    world_.stats().count("mounted-twice");
    twins_ = Twins{*victim, mesh_.id(*victim), world_.now()};
    spoil(*victim, Trouble::kOld);
    if (random_.chance(1, 3)) {
        mesh_.start_copy(copy, *victim);
    } else {
        mesh_.machine(*victim).crash(sim::Ending::kPower);
        mesh_.put_copy(copy, *victim);
        after(draw(1, 1'500), &FaultAtlas::start_if_down, *victim);
        after(draw(1, 1'500), &FaultAtlas::start_if_down, copy);
    }
    after(200_ms, &FaultAtlas::look_at_twins, *victim);
}

void FaultAtlas::start_if_down(usize index) {
    if (twins_ && !mesh_.machine(index).is_up()) mesh_.start(index);
}

void FaultAtlas::look_at_twins(usize index) {
    usize const copy = mesh_.spare(0);
    auto const has_stopped = [&](usize i) {
        return mesh_.node(i) && mesh_.node(i)->services().store->has_forgotten();
    };
    bool const is_renamed = mesh_.id(index) != twins_->id;
    if (!is_renamed && !has_stopped(index) && !has_stopped(copy))
        return after(100_ms, &FaultAtlas::look_at_twins, index);
    bool const lost = is_renamed || has_stopped(index);
    world_.stats().count(lost ? "mounted-twice.copy-went-on" : "mounted-twice.copy-stopped");
    mesh_.drop_copy(copy);
    CoreletId const id = twins_->id;
    twins_.reset();
    if (lost) {
        former_[index] = Former{id, world_.now(), true};
        return look_whether_noticed(index);
    }
    troubles_[index] = Trouble::kNone;
    damaged_[index] = false;
    whole_since_.reset();
}

// For a while from now on whoever takes part in a change of the catalog's voters is struck in the middle of it.
void FaultAtlas::strike_voter_change() {
    bool const waits = voters_until_ && world_.now() < *voters_until_;
    voters_until_ = world_.now() + 25_s;
    if (!waits) look_at_voters(0);
}

void FaultAtlas::look_at_voters(usize) {
    if (over_ || !voters_until_ || world_.now() >= *voters_until_) return voters_until_.reset();
    after(20_ms, &FaultAtlas::look_at_voters, 0);
    auto const leader = mesh_.catalog_leader();
    if (!leader || drill_) return;
    auto const& configuration = mesh_.node(*leader)->services().raft->configuration();
    if (configuration.learners.empty()) return;
    auto const one_of = [&](const auto& ids) { return mesh_.index_of(ids[random_.below(ids.size())]); };
    u64 const dice = random_.below(3);
    auto const struck = dice == 0   ? leader
                        : dice == 1 ? one_of(configuration.learners)
                                    : one_of(configuration.voters);
    if (!struck || troubles_[*struck] != Trouble::kNone || !mesh_.node(*struck) || !may_trouble(1)) return;
    world_.stats().count("voters.struck-in-change");
    voters_until_.reset();
    if (random_.chance(2, 3)) return crash(*struck, draw(200, 6'000));
    pause(*struck, draw_outage());
}

}  // namespace corelet
