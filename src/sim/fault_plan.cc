#include "sim/fault_plan.h"

#include <fmt/format.h>

namespace corelet::sim {

FaultMenu FaultMenu::gentle() {
    FaultMenu menu;
    menu.kinds = {FaultKind::kKill,
                  FaultKind::kPowerLoss,
                  FaultKind::kPause,
                  FaultKind::kSlowNode,
                  FaultKind::kClockJump,
                  FaultKind::kClockDrift,
                  FaultKind::kPartition,
                  FaultKind::kPartitionOneWay,
                  FaultKind::kIsolation,
                  FaultKind::kClog,
                  FaultKind::kDelay,
                  FaultKind::kReset,
                  FaultKind::kHalfOpen,
                  FaultKind::kDatagramLoss,
                  FaultKind::kDatagramDuplicate,
                  FaultKind::kDatagramReorder,
                  FaultKind::kSlowDisk,
                  FaultKind::kStuckDisk};
    return menu;
}

FaultMenu FaultMenu::standard() {
    FaultMenu menu = gentle();
    for (FaultKind const kind :
         {FaultKind::kBitRot, FaultKind::kLatentError, FaultKind::kMisdirectedRead, FaultKind::kMisdirectedWrite,
          FaultKind::kFailedWrite, FaultKind::kFailedSync, FaultKind::kDeviceLoss}) {
        menu.kinds.push_back(kind);
    }
    return menu;
}

FaultPlan FaultPlan::draw(const Prng& source, const FaultMenu& menu) {
    FaultPlan plan;
    plan.outage_min = menu.outage_min;
    plan.outage_max = menu.outage_max;
    plan.unavailable_max = menu.unavailable_max;
    for (FaultKind const kind : menu.kinds) {
        // Each kind has draws of its own: leaving one out changes nothing about the others.
        Prng prng = source.fork(fault_name(kind));
        bool const on = prng.chance(menu.on_percent, 100);
        i64 const mean = menu.every.ns / 4 * static_cast<i64>(1 + prng.below(16));
        u32 const per_million = static_cast<u32>(prng.below(100'000));
        if (!on) continue;
        plan.of(kind) = Duration{mean};
        if (kind == FaultKind::kDatagramLoss) plan.datagram_loss_per_million = per_million;
        if (kind == FaultKind::kDatagramDuplicate) plan.datagram_duplicate_per_million = per_million;
        if (kind == FaultKind::kDatagramReorder) plan.datagram_reorder_per_million = per_million;
    }
    return plan;
}

void FaultPlan::apply_to(NetworkModel& model) const {
    model.datagram_loss_per_million = datagram_loss_per_million;
    model.datagram_duplicate_per_million = datagram_duplicate_per_million;
    model.datagram_reorder_per_million = datagram_reorder_per_million;
}

std::string FaultPlan::to_string() const {
    std::string out;
    for (usize i = 0; i < k_fault_kinds; ++i) {
        if (every[i].ns == 0) continue;
        out +=
            fmt::format("{}{}/{}ms", out.empty() ? "" : " ", fault_name(static_cast<FaultKind>(i)), every[i].ms());
    }
    return out.empty() ? "no faults" : out;
}

}  // namespace corelet::sim
