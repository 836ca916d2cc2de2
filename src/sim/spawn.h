// Work for another thread: it runs inline, after a virtual delay.
#pragma once

#include "rt/env.h"
#include "sim/engine.h"
#include "sim/process.h"

namespace corelet::sim {

class SimSpawn final : public Spawn {
  public:
    SimSpawn(Engine& engine, std::shared_ptr<Process> process, Prng random)
        : engine_(engine), process_(std::move(process)), random_(random) {}
    [[nodiscard]] Task<void> offload(std::move_only_function<void()> work) override;

  private:
    Engine& engine_;
    std::shared_ptr<Process> process_;
    Prng random_;
};

}  // namespace corelet::sim
