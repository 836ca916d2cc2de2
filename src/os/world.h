// The real world of a corelet, put together.
#pragma once

#include "os/disk.h"
#include "os/log.h"
#include "os/network.h"
#include "os/spawn.h"
#include "rt/env.h"

namespace corelet::os {

// One corelet's Env on a loop that several may share. All of the corelet's tasks and connections must be gone
// before it.
class World {
  public:
    // `seed`: of its random numbers, normally os_random_seed().
    World(Loop& loop, Log& log, u64 seed);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    [[nodiscard]] Env& env() { return env_; }

  private:
    Loop& loop_;
    Executor executor_;
    SocketNetwork network_;
    LinuxDisk disk_;
    Prng random_;
    PoolSpawn spawn_;
    Env env_;
};

struct HostOptions {
    LoopOptions loop;
    LogOptions log;
};

// A process with one world: for tools and tests.
class Host {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Host>> create(HostOptions options = {});
    [[nodiscard]] Loop& loop() { return *loop_; }
    [[nodiscard]] Env& env() { return world_.env(); }
    // Runs `task` in the world until it is done.
    template <class T>
    T run_until_done(Task<T> task) {
        return loop_->run_until_done(env().executor, std::move(task));
    }

  private:
    Host(std::unique_ptr<Loop> loop, std::unique_ptr<Log> log);
    std::unique_ptr<Loop> loop_;
    std::unique_ptr<Log> log_;
    World world_;
};

}  // namespace corelet::os
