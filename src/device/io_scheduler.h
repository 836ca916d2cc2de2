// Whose turn it is at the device. At most `depth` operations are there at once; clients go first, healing may hold
// half of the depth and scrubbing a quarter, so that a client's request finds the device not full; each sixteenth
// turn goes to whoever waits lowest, so that none starves.
#pragma once

#include <algorithm>
#include <array>

#include "device/types.h"
#include "rt/task.h"

namespace corelet {

class IoScheduler;

// One operation's turn; ends when destroyed.
class IoTurn {
  public:
    IoTurn() = default;
    IoTurn(IoScheduler& scheduler, IoClass io) : scheduler_(&scheduler), class_(io) {}
    IoTurn(IoTurn&& other) noexcept : scheduler_(std::exchange(other.scheduler_, nullptr)), class_(other.class_) {}
    IoTurn& operator=(IoTurn other) noexcept {
        std::swap(scheduler_, other.scheduler_);
        std::swap(class_, other.class_);
        return *this;
    }
    ~IoTurn();

  private:
    IoScheduler* scheduler_ = nullptr;
    IoClass class_ = IoClass::kClient;
};

class IoScheduler {
  public:
    explicit IoScheduler(u32 depth);
    [[nodiscard]] Task<IoTurn> enter(IoClass io);
    // Healing may have so many operations at the device at once, from half of the depth down to one.
    void limit_healing(u32 at_once);
    [[nodiscard]] u32 healing_most() const { return std::max<u32>(depth_ / 2, 1); }
    [[nodiscard]] u32 in_flight() const { return total_; }
    [[nodiscard]] u32 in_flight(IoClass io) const { return held_[static_cast<usize>(io)]; }

  private:
    friend class IoTurn;
    struct Request;
    [[nodiscard]] bool may_enter(usize io) const { return total_ < depth_ && held_[io] < limits_[io]; }
    void take(usize io);
    void leave(IoClass io);
    void serve();

    static constexpr u64 k_fair_turn = 16;
    u32 depth_;
    std::array<u32, k_io_classes> limits_{};
    std::array<u32, k_io_classes> held_{};
    std::array<IntrusiveList<Request>, k_io_classes> waiting_;
    u32 total_ = 0;
    u64 turns_ = 0;
};

}  // namespace corelet
