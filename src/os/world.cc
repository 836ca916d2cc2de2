#include "os/world.h"

#include "os/random.h"

namespace corelet::os {

World::World(Loop& loop, Log& log, u64 seed)
    : loop_(loop),
      network_(loop, log),
      disk_(loop),
      random_(seed),
      spawn_(loop),
      env_{executor_, loop.clock(), network_, disk_, random_, spawn_, log} {
    loop_.attach(executor_);
}

World::~World() {
    loop_.detach(executor_);
}

Result<std::unique_ptr<Host>> Host::create(HostOptions options) {
    TRY(auto loop, Loop::create(options.loop));
    TRY(auto log, make_log(options.log));
    return std::unique_ptr<Host>(new Host(std::move(loop), std::move(log)));
}

Host::Host(std::unique_ptr<Loop> loop, std::unique_ptr<Log> log)
    : loop_(std::move(loop)), log_(std::move(log)), world_(*loop_, *log_, os_random_seed()) {}

}  // namespace corelet::os
