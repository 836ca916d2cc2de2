// Three machines for three echo corelets, in either world.
#pragma once

#include <functional>

#include "rt/env.h"

namespace corelet::echo {

inline constexpr usize k_corelets = 3;

class Habitat {
  public:
    virtual ~Habitat() = default;
    virtual void boot(usize corelet, std::function<Task<void>(Env&)> program) = 0;
    // The machine loses power: all tasks are dropped, and of what was written to disk and not yet durable any part
    // is lost.
    virtual void crash(usize corelet) = 0;
    // Nothing passes between the two, either way, until mend_all().
    virtual void cut(usize one, usize other) = 0;
    virtual void mend_all() = 0;
    // False when `bound` of the world's time passes first.
    virtual bool run_until(std::function<bool()> predicate, Duration bound) = 0;

    [[nodiscard]] virtual Address listen_address(usize corelet) const = 0;
    // Where `from` reaches `to`.
    [[nodiscard]] virtual Address address(usize from, usize to) const = 0;
    [[nodiscard]] virtual std::string device(usize corelet) const = 0;
};

}  // namespace corelet::echo
