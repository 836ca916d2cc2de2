// For tests: a machine beside a simulated mesh, at which a volume is followed as `corelet connect` does.
#pragma once

#include "node/followed_volume.h"
#include "tests/mesh/sim_mesh.h"

namespace corelet {

class DoorMachine {
  public:
    // The mesh outlives it, and has a key (SimMeshOptions::admin_key).
    DoorMachine(SimMesh& mesh, std::string name, std::string volume);
    ~DoorMachine() { machine_.crash(); }
    DoorMachine(const DoorMachine&) = delete;
    DoorMachine& operator=(const DoorMachine&) = delete;

    // The answer to `volume.door` of a corelet that is up, when it comes; and the number in it.
    using Number = std::shared_ptr<std::optional<Result<std::string>>>;
    [[nodiscard]] Number ask(usize corelet);
    [[nodiscard]] static u64 number_in(const std::string& answer);
    // Boots the machine, which is down, under that number.
    void begin(u64 number);
    [[nodiscard]] bool is_up() const { return machine_.is_up(); }
    // Takes a number for the door and begins; again after a crash: another number. False: the mesh gave none.
    [[nodiscard]] bool start();
    // Instead of the mesh's own, from the next start on.
    void present_key(std::string key) { key_ = std::move(key); }
    // Null while the machine is down, or has not begun yet.
    [[nodiscard]] FollowedVolume* volume() { return volume_; }
    [[nodiscard]] sim::Node& machine() { return machine_; }
    [[nodiscard]] u32 node_index() const { return index_; }

  private:
    struct Life;
    [[nodiscard]] static Task<void> life(Env& env, DoorMachine* door, u64 number);
    SimMesh& mesh_;
    std::string name_;
    std::string key_;
    u32 index_;
    sim::Node& machine_;
    FollowedVolume* volume_ = nullptr;
};

}  // namespace corelet
