// A connection being made: SYN out, SYN-ACK back, repeated while nothing answers. Awaited once.
#pragma once

#include "rt/executor.h"
#include "sim/network.h"

namespace corelet::sim {

class ConnectAttempt final : Event {
  public:
    ConnectAttempt(Fabric& fabric, std::shared_ptr<Process> process, Fabric::Target target, Address address);
    ~ConnectAttempt() override;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> handle) {
        waiter_.suspend(handle, handle.promise());
        begin();
    }
    [[nodiscard]] Result<std::shared_ptr<Stream>> await_resume();

  private:
    enum class Stage : u8 { kRequest, kReply };
    void begin();
    void fire() override;
    void request_arrives();
    void reply_arrives();
    void try_again();
    void finish(Code code);

    Fabric& fabric_;
    std::shared_ptr<Process> process_;
    Fabric::Target target_;
    Address address_;
    Stage stage_ = Stage::kRequest;
    VirtualTime begun_;
    Duration next_try_{1'000'000'000};  // doubles, as the kernel's does
    Waiter waiter_;
    std::shared_ptr<Stream> stream_;
    std::optional<Code> failed_;
    bool refused_ = false;
};

}  // namespace corelet::sim
