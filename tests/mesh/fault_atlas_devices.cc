// Faults of devices.
#include "tests/mesh/fault_atlas.h"

namespace corelet {

sim::MediaFile* FaultAtlas::device_of(usize index) const {
    return mesh_.machine(index).media().find(mesh_.device_path(index));
}

void FaultAtlas::spoil(usize index, Trouble trouble) {
    troubles_[index] = trouble;
    damaged_[index] = true;
}

void FaultAtlas::slow_disk() {
    auto const victim = draw_victim();
    if (!victim || !device_of(*victim)) return;
    world_.stats().count_fault(sim::FaultKind::kSlowDisk);
    troubles_[*victim] = Trouble::kSlow;
    device_of(*victim)->faults.slow_factor = static_cast<u32>(2 + random_.below(60));
    after(draw(200, 5'000), &FaultAtlas::quicken, *victim);
}

void FaultAtlas::stick_disk() {
    auto const victim = draw_victim();
    if (!victim || !device_of(*victim)) return;
    world_.stats().count_fault(sim::FaultKind::kStuckDisk);
    troubles_[*victim] = Trouble::kSlow;
    Duration const time = draw(100, 4'000);
    device_of(*victim)->faults.stuck_until = world_.now() + time;
    after(time, &FaultAtlas::quicken, *victim);
}

void FaultAtlas::lose_device() {
    auto const victim = draw_sound();
    if (!victim) return;
    world_.stats().count_fault(sim::FaultKind::kDeviceLoss);
    spoil(*victim, Trouble::kSpoiled);
    mesh_.machine(*victim).crash(random_.chance(1, 2) ? sim::Ending::kKill : sim::Ending::kPower);
    after(draw(100, 8'000), &FaultAtlas::replace, *victim);
}

sim::MediaFile* FaultAtlas::spoil_some_device() {
    auto const victim = draw_sound();
    sim::MediaFile* const device = victim ? device_of(*victim) : nullptr;
    if (!device) return nullptr;
    spoil(*victim, Trouble::kSpoiled);
    after(draw(2'000, 6'000), &FaultAtlas::crash_spoiled, *victim);
    return device;
}

void FaultAtlas::rot_device() {
    sim::MediaFile* const device = spoil_some_device();
    if (!device) return;
    for (u64 i = random_.between(1, 12); i != 0; --i) {
        auto const page = device->random_used_page(random_);
        if (!page) return;
        device->flip_bit(*page * k_block_bytes + random_.below(k_block_bytes), static_cast<u32>(random_.below(8)));
        world_.stats().count_fault(sim::FaultKind::kBitRot);
    }
}

// They answer with an error until they are written again.
void FaultAtlas::spoil_sectors() {
    sim::MediaFile* const device = spoil_some_device();
    if (!device) return;
    for (u64 i = random_.between(1, 8); i != 0; --i) {
        auto const page = device->random_used_page(random_);
        if (!page) return;
        device->make_unreadable(*page * k_block_bytes, k_block_bytes);
        world_.stats().count_fault(sim::FaultKind::kLatentError);
    }
}

void FaultAtlas::fail_sync() {
    if (sim::MediaFile* const device = spoil_some_device()) device->faults.fail_syncs = 1;
}

void FaultAtlas::fail_write() {
    if (sim::MediaFile* const device = spoil_some_device()) device->faults.fail_writes = 1;
}

// What is read or written next is another place.
void FaultAtlas::misdirect() {
    sim::MediaFile* const device = spoil_some_device();
    if (!device) return;
    (random_.chance(1, 2) ? device->faults.misdirect_reads : device->faults.misdirect_writes) = 1;
}

// What devices held some seconds ago, of one corelet at a time.
void FaultAtlas::remember_device() {
    usize const index = random_.below(mesh_.size());
    if (!mesh_.node(index) || !device_of(index) || troubles_[index] != Trouble::kNone) return;
    if (auto const known = memories_.find(index); known != memories_.end() && world_.now() - known->second.at < 8_s)
        return;
    const Store& store = *mesh_.node(index)->services().store;
    memories_.insert_or_assign(
        index, Memory{store.identity(), store.durable_seq(), device_of(index)->snapshot(), world_.now()});
}

// One that is remembered, and its present self so much ahead that peers have noticed.
bool FaultAtlas::has_old_device(usize index) const {
    if (troubles_[index] != Trouble::kNone || !device_of(index) || !mesh_.node(index)) return false;
    auto const memory = memories_.find(index);
    const Store& store = *mesh_.node(index)->services().store;
    // Peers keep what they have seen at most a second late.
    constexpr u64 k_records_least = 40;
    return memory != memories_.end() && memory->second.id == store.identity() &&
           world_.now() - memory->second.at >= 3_s &&
           store.durable_seq() >= memory->second.number + k_records_least;
}

// Whoever has seen more of it tells it so; it goes on as somebody else, with what it still holds.
void FaultAtlas::bring_back_old_device() {
    auto victim = draw_sound();
    if (!victim) return;
    for (usize i = 0; i < mesh_.size() && !has_old_device(*victim); ++i) victim = (*victim + 1) % mesh_.size();
    if (!has_old_device(*victim)) return;
    auto const memory = memories_.find(*victim);
    world_.stats().count_fault(sim::FaultKind::kDeviceRollback);
    spoil(*victim, Trouble::kOld);
    former_[*victim] = Former{memory->second.id, world_.now(), true};
    mesh_.machine(*victim).crash(sim::Ending::kPower);
    device_of(*victim)->roll_back(memory->second.device);
    after(draw(100, 3'000), &FaultAtlas::look_whether_noticed, *victim);
}

void FaultAtlas::look_whether_noticed(usize index) {
    if (troubles_[index] != Trouble::kOld) return;
    // Whoever has been told so while it ran is somebody else when it is started again.
    if (mesh_.node(index) && mesh_.node(index)->services().store->has_forgotten()) mesh_.machine(index).crash();
    if (!mesh_.machine(index).is_up()) mesh_.start(index);
    if (mesh_.id(index) == former_.at(index).id) return after(100_ms, &FaultAtlas::look_whether_noticed, index);
    former_.erase(index);
    memories_.erase(index);
    troubles_[index] = Trouble::kFilling;
    whole_since_.reset();
}

void FaultAtlas::begin_lying() {
    damaged_.assign(mesh_.size(), true);
    for (usize i = 0; i < mesh_.size(); ++i)
        if (sim::MediaFile* const device = device_of(i)) {
            device->faults.lying_syncs = true;
            world_.stats().count_fault(sim::FaultKind::kLyingSync);
        }
}

// A device that has rotted or failed is taken out.
void FaultAtlas::crash_spoiled(usize index) {
    if (troubles_[index] != Trouble::kSpoiled) return;
    world_.stats().count_fault(sim::FaultKind::kDeviceLoss);
    mesh_.machine(index).crash();
    std::erase_if(rots_, [index](const Rot& rot) { return rot.index == index; });
    after(draw(100, 8'000), &FaultAtlas::replace, index);
}

void FaultAtlas::replace(usize index) {
    if (troubles_[index] != Trouble::kSpoiled || mesh_.machine(index).is_up()) return;
    troubles_[index] = Trouble::kFilling;
    damaged_[index] = false;
    whole_since_.reset();
    mesh_.start_empty(index);
}

}  // namespace corelet
