#include "sim/stats.h"

#include "base/assert.h"

namespace corelet::sim {

const char* fault_name(FaultKind kind) {
    switch (kind) {
        case FaultKind::kKill:
            return "kill";
        case FaultKind::kPowerLoss:
            return "power-loss";
        case FaultKind::kPause:
            return "pause";
        case FaultKind::kSlowNode:
            return "slow-node";
        case FaultKind::kClockJump:
            return "clock-jump";
        case FaultKind::kClockDrift:
            return "clock-drift";
        case FaultKind::kRackLoss:
            return "rack-loss";
        case FaultKind::kPartition:
            return "partition";
        case FaultKind::kPartitionOneWay:
            return "partition-one-way";
        case FaultKind::kIsolation:
            return "isolation";
        case FaultKind::kClog:
            return "clog";
        case FaultKind::kDelay:
            return "delay";
        case FaultKind::kReset:
            return "reset";
        case FaultKind::kHalfOpen:
            return "half-open";
        case FaultKind::kDatagramLoss:
            return "datagram-loss";
        case FaultKind::kDatagramDuplicate:
            return "datagram-duplicate";
        case FaultKind::kDatagramReorder:
            return "datagram-reorder";
        case FaultKind::kTornWrite:
            return "torn-write";
        case FaultKind::kLostWrite:
            return "lost-write";
        case FaultKind::kBitRot:
            return "bit-rot";
        case FaultKind::kLatentError:
            return "latent-error";
        case FaultKind::kMisdirectedRead:
            return "misdirected-read";
        case FaultKind::kMisdirectedWrite:
            return "misdirected-write";
        case FaultKind::kFailedWrite:
            return "failed-write";
        case FaultKind::kFailedSync:
            return "failed-sync";
        case FaultKind::kLyingSync:
            return "lying-sync";
        case FaultKind::kSlowDisk:
            return "slow-disk";
        case FaultKind::kStuckDisk:
            return "stuck-disk";
        case FaultKind::kHostFull:
            return "host-full";
        case FaultKind::kDeviceLoss:
            return "device-loss";
        case FaultKind::kDeviceRollback:
            return "device-rollback";
        case FaultKind::kCount:
            break;
    }
    CORELET_UNREACHABLE("not a kind of fault");
}

bool fault_by_name(std::string_view name, FaultKind* out) {
    for (usize i = 0; i < k_fault_kinds; ++i) {
        if (name != fault_name(static_cast<FaultKind>(i))) continue;
        *out = static_cast<FaultKind>(i);
        return true;
    }
    return false;
}

u64 Stats::all_faults() const {
    u64 sum = 0;
    for (u64 const times : faults_) sum += times;
    return sum;
}

void Stats::count(std::string_view event, u64 times) {
    auto const found = events_.find(event);
    if (found != events_.end()) {
        found->second += times;
    } else {
        events_.emplace(event, times);
    }
}

u64 Stats::counted(std::string_view event) const {
    auto const found = events_.find(event);
    return found == events_.end() ? 0 : found->second;
}

void Stats::add(const Stats& other) {
    for (usize i = 0; i < k_fault_kinds; ++i) faults_[i] += other.faults_[i];
    for (auto const& [event, times] : other.events_) count(event, times);
}

std::string Stats::line() const {
    std::string out;
    auto const append = [&](std::string_view name, u64 times) {
        if (times == 0) return;
        if (!out.empty()) out += ' ';
        out += std::string(name) + "=" + std::to_string(times);
    };
    for (usize i = 0; i < k_fault_kinds; ++i) append(fault_name(static_cast<FaultKind>(i)), faults_[i]);
    for (auto const& [event, times] : events_) append(event, times);
    return out;
}

}  // namespace corelet::sim
