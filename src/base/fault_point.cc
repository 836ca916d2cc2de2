#include "base/fault_point.h"

#include <utility>

#include "base/assert.h"

namespace corelet {

// Each point draws from a stream of its own: a new one changes nothing about whether the others are on.
FaultPoints::FaultPoints(Prng random) : random_(random.fork("firing")) {
    CORELET_ASSERT(armed_fault_points == nullptr, "two runs at once");
    for (usize i = 0; i < points_.size(); ++i) {
        Prng its = random.fork(k_fault_points[i]);
        // From once in thousands to every second time.
        if (its.chance(1, 3)) points_[i].per_million = static_cast<u32>(500'000 >> its.below(10));
    }
    armed_fault_points = this;
}

FaultPoints::~FaultPoints() {
    CORELET_ASSERT(armed_fault_points == this);
    armed_fault_points = nullptr;
}

bool FaultPoints::fires(usize index) {
    Point& point = points_[index];
    ++point.reached;
    if (point.per_million == 0 || !random_.chance(point.per_million, 1'000'000)) return false;
    if (point.fired >= k_fired_often && point.per_million < k_always && !random_.chance(1, 16)) return false;
    ++point.fired;
    return true;
}

void FaultPoints::disarm() {
    for (Point& point : points_) point.per_million = 0;
}

FaultPoints::Suspension::Suspension() : before_(std::exchange(armed_fault_points, nullptr)) {}

FaultPoints::Suspension::~Suspension() {
    armed_fault_points = before_;
}

}  // namespace corelet
