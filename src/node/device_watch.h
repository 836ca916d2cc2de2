// Whether a device is as fast as it used to be. Pure: time comes in.
//
// What is compared is the cost of a unit of work: an operation, or 64 KiB where they are larger than that. Of busy
// time, as the device's own counters have it; when operations overlap, of the time that passed, so that a queue
// does not look like a slow device. By windows of five seconds: a single hiccup is in one of them. And with two
// measures: its own past, which tells a slow disk from a device that is slow by nature, and other devices of its
// class, which tell it from a host or a workload that makes all of them slow.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"

namespace corelet {

// As the device counts them since it was mounted.
struct DeviceWork {
    u64 operations = 0;
    u64 bytes = 0;
    u64 busy_ns = 0;  // summed over operations
};

// Costs of a unit of work, in nanoseconds; 0: not known.
struct UnitCost {
    u64 least = 0;  // in three of the last four windows it was as slow as that, or slower
    u64 most = 0;   // in three of them it was no slower than that
    u64 usual = 0;  // in its own past
    friend bool operator==(const UnitCost&, const UnitCost&) = default;
};

// Of one kind of work: reads, or writes.
class CostMeter {
  public:
    static constexpr Duration k_window = 5_s;
    static constexpr usize k_windows = 4;
    static constexpr u64 k_operations_least = 8;  // over them, for a verdict

    explicit CostMeter(u64 usual_ns) : usual_(usual_ns) {}
    // Call every k_window. `slow`: it is held to be slow now; how it is now is not how it usually is.
    void add(DeviceWork total, Instant now, bool slow);
    [[nodiscard]] UnitCost cost() const;

  private:
    struct Window {
        u64 operations = 0;
        u64 cost = 0;
    };
    void learn(u64 cost, bool slow);
    std::optional<DeviceWork> last_;
    Instant last_at_;
    std::deque<Window> windows_;  // with and without work
    u64 usual_ = 0;
    u32 learnt_ = 0;  // windows, while it is not known
    u64 learning_ = 0;
    u32 unusual_ = 0;  // windows one after the other that it did not learn from
};

inline constexpr u64 k_slow_factor = 3;  // a fifth of the speed is well beyond it
inline constexpr u64 k_fine_factor = 2;  // below that it is as it was
inline constexpr u64 k_slow_floor_ns =
    200'000;  // nobody waits for a device that is faster: the network takes longer

// The middle one of what others of the class cost now, or usually where they have nothing to do; 0 if nobody says.
[[nodiscard]] u64 typical_cost(const std::vector<UnitCost>& others);
// `was`: it was held to be slow until now. With no others to compare with (0) its own past decides. False also when
// nothing is known.
[[nodiscard]] bool is_slow(const UnitCost& cost, u64 others, bool was);

// What one corelet says of its device.
struct DeviceSpeed {
    UnitCost reads, writes;
};
// While it has nothing to do it is what it was.
struct SpeedVerdict {
    bool slow = false;
    std::string reason;  // "writes take 12 ms, usually 2 ms, on others 3 ms"
};
[[nodiscard]] SpeedVerdict judge_speed(const DeviceSpeed& device, const std::vector<DeviceSpeed>& others, bool was);

}  // namespace corelet
