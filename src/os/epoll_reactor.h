// Where io_uring is forbidden, as in most containers: epoll for sockets, a few threads for the disk.
#pragma once

#include "os/reactor.h"
#include "os/thread_pool.h"

namespace corelet::os {

class EpollReactor final : public Reactor {
  public:
    EpollReactor(Descriptor epoll, Inbox& inbox) : epoll_(std::move(epoll)), inbox_(inbox) {}

    [[nodiscard]] std::string_view name() const override { return "epoll"; }
    void start(std::shared_ptr<DiskOperation> operation) override;
    [[nodiscard]] Result<std::shared_ptr<Watch>> watch(Descriptor descriptor) override;
    TurnEnd turn(Duration timeout, Duration spin) override;

  private:
    void arm(Watch& watch, Direction direction) override;
    void forget(Watch& watch) override;
    bool poll(Duration timeout);
    [[nodiscard]] bool control(int operation, Watch& watch, u32 more_events);
    void wake_writer(Watch& watch);

    // Enough to keep a device's queue busy; they sleep nearly all the time.
    static constexpr usize k_disk_threads = 8;
    Descriptor epoll_;
    Inbox& inbox_;
    bool has_fine_wait_ = true;
    ThreadPool disk_threads_{"corelet-disk", k_disk_threads};  // last: joined before what its threads use
};

}  // namespace corelet::os
