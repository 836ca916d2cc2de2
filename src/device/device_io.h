// All access of a store to its File: turns by class, telemetry, and the latch that makes a failed write or flush
// final.
#pragma once

#include <memory>
#include <string>

#include "device/io_scheduler.h"
#include "device/telemetry.h"
#include "rt/clock.h"
#include "rt/disk.h"
#include "rt/sync.h"

namespace corelet {

class DeviceIo {
  public:
    DeviceIo(std::unique_ptr<File> file, Clock& clock, u32 depth);

    [[nodiscard]] Task<Result<Buffer>> read(u64 offset, usize size, IoClass io);
    // kIo at once when failing; its own failure makes it so.
    [[nodiscard]] Task<Result<void>> write(u64 offset, BufferChain data, Durability durability, IoClass io);
    // Waits for no turn: a journal has one write under way, and all others wait for it.
    [[nodiscard]] Task<Result<void>> write_journal(u64 offset, BufferChain data, Durability durability);
    [[nodiscard]] Task<Result<void>> flush();
    // The one write that a failing device still gets: its superblock's mark, best effort.
    [[nodiscard]] Task<bool> write_last_words(u64 offset, Buffer block);

    // Latches; the first reason stays.
    void fail_device(std::string reason);
    [[nodiscard]] bool is_failing() const { return failed_.is_set(); }
    [[nodiscard]] const std::string& failure() const { return failure_; }
    [[nodiscard]] Event& failed() { return failed_; }
    // What a write on a failing device is answered.
    [[nodiscard]] Error failing_error() const;

    // For what precedes any decision about the device: its superblocks.
    [[nodiscard]] File& file() { return *file_; }
    [[nodiscard]] Telemetry& telemetry() { return telemetry_; }
    [[nodiscard]] IoScheduler& scheduler() { return scheduler_; }
    [[nodiscard]] const IoScheduler& scheduler() const { return scheduler_; }

  private:
    [[nodiscard]] Task<Result<void>> do_write(u64 offset, BufferChain data, Durability durability,
                                              IoCounters* counters);
    std::unique_ptr<File> file_;
    Clock& clock_;
    IoScheduler scheduler_;
    Telemetry telemetry_;
    Event failed_;
    std::string failure_;
};

}  // namespace corelet
