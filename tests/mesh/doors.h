// Clients' doors beside a simulated mesh (`corelet connect`), one for each volume, with their own troubles: a door
// dies and another one takes its place, and now and then it does not reach a corelet, one way or both.
#pragma once

#include "tests/mesh/door_machine.h"

namespace corelet {

class Doors {
  public:
    // The mesh outlives it.
    Doors(SimMesh& mesh, const std::vector<std::string>& volumes);
    ~Doors() { *self_ = nullptr; }
    Doors(const Doors&) = delete;
    Doors& operator=(const Doors&) = delete;

    // Opens them all, and makes trouble until stop().
    void start();
    void stop() { troubling_ = false; }
    // The door's; null while there is none. To be used in its machine's program alone (spawn).
    [[nodiscard]] std::shared_ptr<BlockDevice> device(const std::string& volume);
    void spawn(const std::string& volume, Task<void> task);

  private:
    struct Door {
        std::unique_ptr<DoorMachine> machine;
        DoorMachine::Number number;  // that is on its way
    };
    void later(Duration delay, const std::string& volume, void (Doors::*what)(const std::string&));
    void open(const std::string& volume);
    void trouble(const std::string& volume);
    void cut(Door& door);

    SimMesh& mesh_;
    sim::World& world_;
    Prng random_;
    std::map<std::string, Door> doors_;
    bool troubling_ = false;
    std::shared_ptr<Doors*> self_;
};

}  // namespace corelet
