// The echo corelets' machines as nodes of a simulated world.
#pragma once

#include "habitat.h"
#include "sim/world.h"

namespace corelet::echo {

class SimHabitat final : public Habitat {
  public:
    explicit SimHabitat(sim::World& world) : world_(world) {
        for (usize i = 0; i < k_corelets; ++i) world_.add_node(name(i));
    }
    void boot(usize corelet, std::function<Task<void>(Env&)> program) override {
        world_.node(corelet).start(std::move(program));
    }
    void crash(usize corelet) override { world_.node(corelet).crash(); }
    void cut(usize one, usize other) override {
        world_.partition({static_cast<u32>(one)}, {static_cast<u32>(other)});
    }
    void mend_all() override { world_.heal_network(); }
    bool run_until(std::function<bool()> predicate, Duration bound) override {
        return world_.run_until(predicate, bound);
    }
    Address listen_address(usize corelet) const override { return Address::tcp(name(corelet), 7); }
    Address address(usize, usize to) const override { return listen_address(to); }
    std::string device(usize) const override { return "/device"; }

  private:
    static std::string name(usize corelet) { return "echo" + std::to_string(corelet); }
    sim::World& world_;
};

}  // namespace corelet::echo
