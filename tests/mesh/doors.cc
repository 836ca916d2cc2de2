#include "tests/mesh/doors.h"

namespace corelet {

Doors::Doors(SimMesh& mesh, const std::vector<std::string>& volumes)
    : mesh_(mesh), world_(mesh.world()), random_(world_.fork("doors")), self_(std::make_shared<Doors*>(this)) {
    for (const std::string& volume : volumes)
        doors_[volume].machine = std::make_unique<DoorMachine>(mesh, "door-" + volume, volume);
}

void Doors::later(Duration delay, const std::string& volume, void (Doors::*what)(const std::string&)) {
    world_.call_in(delay, [self = self_, volume, what] {
        if (*self) ((*self)->*what)(volume);
    });
}

void Doors::start() {
    troubling_ = true;
    for (auto const& [volume, door] : doors_) {
        open(volume);
        later(Duration{static_cast<i64>(random_.between(2'000, 6'000)) * 1'000'000}, volume, &Doors::trouble);
    }
}

// Asks whoever is up for its number, and looks until it has come.
void Doors::open(const std::string& volume) {
    Door& door = doors_.at(volume);
    if (door.machine->is_up()) return;
    if (door.number && *door.number && **door.number) {
        door.machine->begin(DoorMachine::number_in(***door.number));
        world_.stats().count("door.opened");
        door.number = nullptr;
        return;
    }
    usize const asked = random_.below(mesh_.size());
    bool const failed = door.number && *door.number;
    if ((!door.number || failed || random_.chance(1, 10)) && mesh_.node(asked))
        door.number = door.machine->ask(asked);
    later(100_ms, volume, &Doors::open);
}

void Doors::trouble(const std::string& volume) {
    if (!troubling_) return;
    Door& door = doors_.at(volume);
    if (door.machine->is_up() && random_.chance(1, 3)) {
        door.machine->machine().crash();
        world_.stats().count("door.died");
        open(volume);
    } else if (door.machine->is_up()) {
        cut(door);
    }
    later(Duration{static_cast<i64>(random_.between(1'000, 6'000)) * 1'000'000}, volume, &Doors::trouble);
}

void Doors::cut(Door& door) {
    u32 const corelet = static_cast<u32>(random_.below(mesh_.size())), self = door.machine->node_index();
    bool const there = random_.chance(2, 3), back = !there || random_.chance(1, 2);
    if (there) world_.partition_one_way({self}, {corelet});
    if (back) world_.partition_one_way({corelet}, {self});
    world_.stats().count("door.cut");
    world_.call_in(Duration{static_cast<i64>(random_.between(100, 5'000)) * 1'000'000},
                   [world = &world_, self, corelet] {
                       world->fabric().mend(self, corelet);
                       world->fabric().mend(corelet, self);
                   });
}

std::shared_ptr<BlockDevice> Doors::device(const std::string& volume) {
    FollowedVolume* const followed = doors_.at(volume).machine->volume();
    return followed && !followed->ended().is_set() ? std::shared_ptr<BlockDevice>(std::shared_ptr<void>(), followed)
                                                   : nullptr;
}

void Doors::spawn(const std::string& volume, Task<void> task) {
    doors_.at(volume).machine->machine().spawn(std::move(task));
}

}  // namespace corelet
