// Which faults a run suffers, how often and for how long: drawn from the seed, each seed leaving some kinds off
// (swarm testing, Groce et al. 2012: runs without a fault reach states that its presence would hide).
#pragma once

#include <array>

#include "base/prng.h"
#include "base/time.h"
#include "sim/fabric.h"
#include "sim/stats.h"

namespace corelet::sim {

// What a plan may be drawn from.
struct FaultMenu {
    std::vector<FaultKind> kinds;
    u32 on_percent = 50;            // chance of each kind to be on
    Duration every{4'000'000'000};  // typical time between two of one kind; drawn from a quarter to four times that
    Duration outage_min{20'000'000};
    Duration outage_max{8'000'000'000};  // how long crashes, partitions and the like last
    usize unavailable_max = 1;           // nodes that are down, stopped or cut off at one moment

    // All that redundancy survives unless too much comes together.
    [[nodiscard]] static FaultMenu standard();
    // Of crashes and network troubles only: bytes on media stay what they are.
    [[nodiscard]] static FaultMenu gentle();
};

struct FaultPlan {
    std::array<Duration, k_fault_kinds> every{};  // mean time between two; 0: off
    u32 datagram_loss_per_million = 0;
    u32 datagram_duplicate_per_million = 0;
    u32 datagram_reorder_per_million = 0;
    Duration outage_min;
    Duration outage_max;
    usize unavailable_max = 0;

    [[nodiscard]] static FaultPlan draw(const Prng& source, const FaultMenu& menu);
    [[nodiscard]] Duration& of(FaultKind kind) { return every[static_cast<usize>(kind)]; }
    [[nodiscard]] bool is_on(FaultKind kind) const { return every[static_cast<usize>(kind)].ns != 0; }
    void apply_to(NetworkModel& model) const;
    // The kinds that are on, with their means.
    [[nodiscard]] std::string to_string() const;
};

}  // namespace corelet::sim
