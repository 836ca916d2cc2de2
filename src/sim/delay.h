// co_await Delay(engine, duration): so much true time, whatever the node's clock says.
#pragma once

#include "rt/executor.h"
#include "sim/engine.h"

namespace corelet::sim {

class Delay final : public Event {
  public:
    Delay(Engine& engine, Duration duration) : engine_(engine), duration_(duration) {}
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter_.suspend(handle, handle.promise());
        engine_.queue.schedule_in(*this, duration_);
    }
    void await_resume() const noexcept {}

  private:
    void fire() override { waiter_.make_ready(); }
    Engine& engine_;
    Duration duration_;
    Waiter waiter_;
};

}  // namespace corelet::sim
