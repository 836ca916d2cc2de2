// One io_uring for disk requests and socket polls. Sockets are read and written by plain non-blocking calls; only
// waiting for them goes through the ring, so that a dropped read has taken no bytes away.
#pragma once

#include <liburing.h>

#include "os/reactor.h"

namespace corelet::os {

class UringReactor final : public Reactor {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Reactor>> create();
    // Waits for disk requests in flight: the kernel still reads and writes their buffers.
    ~UringReactor() override;

    [[nodiscard]] std::string_view name() const override { return "io_uring"; }
    void start(std::shared_ptr<DiskOperation> operation) override;
    [[nodiscard]] Result<std::shared_ptr<Watch>> watch(Descriptor descriptor) override;
    TurnEnd turn(Duration timeout, Duration spin) override;

  private:
    UringReactor() = default;
    void arm(Watch& watch, Direction direction) override;
    void forget(Watch& watch) override;

    [[nodiscard]] io_uring_sqe& next_sqe();
    [[nodiscard]] bool has_news() const;
    void enter_without_waiting();
    void wait(Duration timeout);
    bool spin_until(Duration spin);
    void reap();
    void completed(u64 tag, i32 result);

    io_uring ring_{};
    IntrusiveList<Watch> watches_;
    usize disk_in_flight_ = 0;
};

}  // namespace corelet::os
