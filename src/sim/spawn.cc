#include "sim/spawn.h"

#include "rt/sync.h"

namespace corelet::sim {

namespace {

class Offloaded final : public Event {
  public:
    Offloaded(Engine& engine, std::shared_ptr<Process> process, std::move_only_function<void()> work,
              std::weak_ptr<corelet::Event> done)
        : engine_(engine), process_(std::move(process)), work_(std::move(work)), done_(std::move(done)) {}

  private:
    void fire() override {
        if (process_->ended) return;  // its threads ended with it
        work_();
        engine_.trace.record(TraceKind::kOffload, process_->node, process_->boot);
        if (auto const done = done_.lock()) done->set();
    }
    Engine& engine_;
    std::shared_ptr<Process> process_;
    std::move_only_function<void()> work_;
    std::weak_ptr<corelet::Event> done_;
};

}  // namespace

Task<void> SimSpawn::offload(std::move_only_function<void()> work) {
    process_->check_may_act();
    constexpr u64 k_min_ns = 10'000, k_max_ns = 300'000;
    auto const done = std::make_shared<corelet::Event>();
    Duration const delay{static_cast<i64>(random_.between(k_min_ns, k_max_ns))};
    engine_.queue.schedule_owned(std::make_unique<Offloaded>(engine_, process_, std::move(work), done),
                                 engine_.now() + delay);
    co_await done->wait();
}

}  // namespace corelet::sim
