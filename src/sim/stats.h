// Counts per kind of fault and per named event of a run: a fault that never fired tests nothing.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "base/types.h"

namespace corelet::sim {

enum class FaultKind : u8 {
    // nodes
    kKill,        // the process dies, its machine goes on: unsynced writes stay in the page cache
    kPowerLoss,   // the machine dies: unsynced writes survive as any subset of their sectors
    kPause,       // stopped: sockets stay open, timers come late
    kSlowNode,    // each turn comes late
    kClockJump,   // wall clock
    kClockDrift,  // rate of the monotonic clock
    kRackLoss,    // several machines lose power together
    // network
    kPartition,  // between two sets of nodes, both ways
    kPartitionOneWay,
    kIsolation,  // one node from all others
    kClog,       // a link delivers nothing for a while
    kDelay,      // a link is slow for a while
    kReset,      // a connection, at any byte
    kHalfOpen,   // one end is gone and the other not told
    kDatagramLoss,
    kDatagramDuplicate,
    kDatagramReorder,
    // disks
    kTornWrite,  // a write of which a crash left only a part
    kLostWrite,  // a write that a crash undid
    kBitRot,
    kLatentError,  // sectors that answer with an I/O error
    kMisdirectedRead,
    kMisdirectedWrite,
    kFailedWrite,  // once
    kFailedSync,   // once; the next one succeeds, and what it should have saved may be lost
    kLyingSync,    // says durable and is not; only in scenarios that expect losses
    kSlowDisk,
    kStuckDisk,
    kHostFull,
    kDeviceLoss,
    kDeviceRollback,  // an older state of the device comes back
    kCount,
};
[[nodiscard]] const char* fault_name(FaultKind kind);
[[nodiscard]] bool fault_by_name(std::string_view name, FaultKind* out);
inline constexpr usize k_fault_kinds = static_cast<usize>(FaultKind::kCount);

class Stats {
  public:
    void count_fault(FaultKind kind, u64 times = 1) { faults_[static_cast<usize>(kind)] += times; }
    [[nodiscard]] u64 faults(FaultKind kind) const { return faults_[static_cast<usize>(kind)]; }
    [[nodiscard]] u64 all_faults() const;
    // Anything else worth counting: "owner.changed", "write.acknowledged".
    void count(std::string_view event, u64 times = 1);
    [[nodiscard]] u64 counted(std::string_view event) const;
    void add(const Stats& other);
    // `name=count` of all that are not zero, faults first.
    [[nodiscard]] std::string line() const;

  private:
    std::array<u64, k_fault_kinds> faults_{};
    std::map<std::string, u64, std::less<>> events_;
};

}  // namespace corelet::sim
