#include "os/spawn.h"

namespace corelet::os {

Task<void> run_on_worker(Loop* loop, std::move_only_function<void()> work) {
    auto done = std::make_shared<Event>();
    Inbox& inbox = loop->inbox();
    loop->workers().run([work = std::move(work), done, &inbox]() mutable {
        work();
        // The work, with what it owns, is destroyed where it came from: its buffers' and frames' home.
        inbox.post([work = std::move(work), done = std::move(done)]() mutable { done->set(); });
    });
    co_await done->wait();
}

Task<void> PoolSpawn::offload(std::move_only_function<void()> work) {
    std::shared_ptr<Semaphore> outstanding = outstanding_;
    // The permit goes back when the work is done, also if nobody waits for it any more.
    auto permit = std::make_unique<Permit>(co_await acquire_permit(*outstanding, 1));
    std::move_only_function<void()> bounded = [work = std::move(work), outstanding = std::move(outstanding),
                                               permit = std::move(permit)]() mutable { work(); };
    co_await run_on_worker(&loop_, std::move(bounded));
}

}  // namespace corelet::os
