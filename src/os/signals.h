// Signals as events: while it lives, the named ones reach next() and nothing else.
#pragma once

#include <signal.h>

#include <initializer_list>

#include "os/loop.h"

namespace corelet::os {

// Make it before any thread is started that the process does not get from the loop, else that thread may take the
// signal.
class Signals {
  public:
    // Also lets SIGPIPE be ignored in this process: writing to a closed pipe is an error, no death.
    [[nodiscard]] static Result<std::unique_ptr<Signals>> create(Loop& loop, std::initializer_list<int> which);
    // Unblocks what it blocked.
    ~Signals();
    // Waits for the next one: its number. Several of the same kind before that count as one.
    [[nodiscard]] Task<int> next();

  private:
    Signals(std::shared_ptr<Watch> watch, sigset_t before) : watch_(std::move(watch)), before_(before) {}
    std::shared_ptr<Watch> watch_;
    sigset_t before_;
};

}  // namespace corelet::os
