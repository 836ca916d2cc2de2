// How other threads hand work to the loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "os/descriptor.h"

namespace corelet::os {

class Inbox {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Inbox>> create();

    // Any thread. `work` runs on the loop's thread, in order of posting.
    void post(std::move_only_function<void()> work);
    // Any thread: makes the loop take a turn.
    void wake();

    // Readable while there may be work.
    [[nodiscard]] int event_fd() const { return event_.get(); }
    // The loop's thread: runs all that has been posted.
    void drain();

  private:
    explicit Inbox(Descriptor event) : event_(std::move(event)) {}
    Descriptor event_;
    std::mutex mutex_;
    std::vector<std::move_only_function<void()>> posted_;  // bounded by what was offloaded
};

}  // namespace corelet::os
