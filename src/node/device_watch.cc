#include "node/device_watch.h"

#include <fmt/format.h>

#include <algorithm>

#include "node/health.h"

namespace corelet {

namespace {
constexpr u64 k_unit_bytes_moved = 64 * k_kib;
constexpr u32 k_learnt_first = 6;   // windows, before it is known what is usual
constexpr u64 k_learn_share = 16;   // then each window counts for so much less
constexpr u32 k_unusual_most = 60;  // five minutes: then that is how it is
}  // namespace

// --- one kind of work
// -----------------------------------------------------------------------------------------------------------

void CostMeter::add(DeviceWork total, Instant now, bool slow) {
    if (last_) {
        DeviceWork const done{total.operations - last_->operations, total.bytes - last_->bytes,
                              total.busy_ns - last_->busy_ns};
        Window window{done.operations, 0};
        if (done.operations != 0 && now > last_at_) {
            u64 const passed = static_cast<u64>((now - last_at_).ns);
            u64 const units = std::max(done.operations, done.bytes / k_unit_bytes_moved);
            window.cost = std::max<u64>(1, std::min(done.busy_ns, passed) / units);
            learn(window.cost, slow);
        }
        windows_.push_back(window);
        if (windows_.size() > k_windows) windows_.pop_front();
    }
    last_ = total;
    last_at_ = now;
}

void CostMeter::learn(u64 cost, bool slow) {
    if (usual_ == 0) {
        learning_ += cost;
        if (++learnt_ == k_learnt_first) usual_ = learning_ / learnt_;
        return;
    }
    bool const unusual = slow || cost >= usual_ * k_fine_factor;
    unusual_ = unusual ? unusual_ + 1 : 0;
    if (slow || (unusual && unusual_ < k_unusual_most)) return;
    usual_ = std::max<u64>(1, (usual_ * (k_learn_share - 1) + cost) / k_learn_share);
}

UnitCost CostMeter::cost() const {
    std::vector<u64> costs;
    u64 operations = 0;
    for (const Window& window : windows_) {
        operations += window.operations;
        if (window.operations != 0) costs.push_back(window.cost);
    }
    UnitCost out{0, 0, usual_};
    if (operations < k_operations_least || costs.size() < k_windows - 1) return out;
    std::sort(costs.begin(), costs.end());
    out.least = costs[costs.size() - 3];
    out.most = costs[costs.size() - 2];
    return out;
}

// --- verdict
// -----------------------------------------------------------------------------------------------------------

u64 typical_cost(const std::vector<UnitCost>& others) {
    std::vector<u64> costs;
    for (const UnitCost& cost : others)
        if (u64 const now = cost.least != 0 ? cost.least : cost.usual; now != 0) costs.push_back(now);
    if (costs.empty()) return 0;
    auto const middle = costs.begin() + static_cast<std::ptrdiff_t>((costs.size() - 1) / 2);
    std::nth_element(costs.begin(), middle, costs.end());
    return *middle;
}

bool is_slow(const UnitCost& cost, u64 others, bool was) {
    if (cost.usual == 0 || cost.least == 0) return false;
    if (was) return cost.most >= std::max(cost.usual * k_fine_factor, k_slow_floor_ns);
    return cost.least >= k_slow_floor_ns && cost.least >= cost.usual * k_slow_factor &&
           cost.least >= others * k_slow_factor;
}

SpeedVerdict judge_speed(const DeviceSpeed& device, const std::vector<DeviceSpeed>& others, bool was) {
    SpeedVerdict out;
    bool told = false;
    for (bool const writes : {true, false}) {
        const UnitCost& cost = writes ? device.writes : device.reads;
        told = told || (cost.usual != 0 && cost.least != 0);
        std::vector<UnitCost> theirs;
        for (const DeviceSpeed& other : others) theirs.push_back(writes ? other.writes : other.reads);
        u64 const typical = typical_cost(theirs);
        if (!is_slow(cost, typical, was)) continue;
        out.slow = true;
        out.reason +=
            fmt::format("{}{} take {}, usually {}", out.reason.empty() ? "" : "; ", writes ? "writes" : "reads",
                        short_duration(static_cast<i64>(cost.least)), short_duration(static_cast<i64>(cost.usual)));
        if (typical != 0) out.reason += fmt::format(", on others {}", short_duration(static_cast<i64>(typical)));
    }
    if (!told && was) return SpeedVerdict{true, "it was slow when it last had work"};
    return out;
}

}  // namespace corelet
