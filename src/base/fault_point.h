// Points in the code at which a simulated run may take the path that is rarely taken: a deadline that passes early,
// a batch of one, a cache that misses, an answer that is lost. FoundationDB calls the like BUGGIFY (Zhou et al.,
// SIGMOD 2021). What such a point does must be something that could have happened anyway; it may cost time, never
// correctness.
//
//     if (pending_bytes_ >= options_.pipeline_bytes || FAULT_POINT("stream.send_early")) ...
//
// Armed for one run by whoever runs the simulation, drawn from its seed; never in a process that serves, where a
// point is one load and a branch that is not taken. A name that is not listed here does not compile. One thread.
#pragma once

#include <array>
#include <functional>
#include <string_view>

#include "base/bytes.h"
#include "base/prng.h"

namespace corelet {

inline constexpr auto k_fault_points = std::to_array<std::string_view>({
    "stream.send_early",       // a record leaves beside one in flight, however small
    "stream.roll_early",       // the open segment counts as full
    "stream.owner_elsewhere",  // its owner holds no replica of a log
    "stream.segment_unknown",  // a replica that is to be fenced says that it does not know the segment
    "rpc.early_timeout",       // nobody waits for the answer
    "cache.miss",              // a block that is cached is read
    "chunk.hedge_early",       // a read is sent to others at once
    "catalog.answer_lost",     // a transaction was committed, and who asked is not told
    "raft.small_append",       // one entry a message
    "raft.snapshot_early",     // the log counts as long
    "volume.checkpoint_early",
    "volume.read_late",     // what a read has looked up it reads a while later
    "store.put_late",       // a fragment is written a while after its put was admitted
    "heal.hand_over_late",  // what may go, by its member's word, goes a while later
    "stream.sweep_early",   // replicas look at once for segments that nothing lists
    "wire.later_field",     // a message has a field that only a later version knows
    "wire.relay_refused",   // no connection is passed on to another
    "map.delta_withheld",   // what changed in the map is not told, but the whole, or nothing
    "map.parted",           // the map counts as too large for one value of the catalog
});

[[nodiscard]] consteval usize fault_point_index(std::string_view name) {
    for (usize i = 0; i < k_fault_points.size(); ++i)
        if (k_fault_points[i] == name) return i;
    throw "this fault point is not listed in base/fault_point.h";
}

class BufferChain;

// The points of one run. While it lives, and is not suspended, they are armed.
class FaultPoints {
  public:
    explicit FaultPoints(Prng random);
    ~FaultPoints();
    FaultPoints(const FaultPoints&) = delete;
    FaultPoints& operator=(const FaultPoints&) = delete;

    static constexpr u32 k_always = 1'000'000;
    // Having fired so often in a run it fires a sixteenth as often: a thousand early rolls show no more than some
    // hundred do, and take the time of another run.
    static constexpr u64 k_fired_often = 256;
    struct Point {
        u32 per_million = 0;  // how often it fires; 0: off in this run
        u64 reached = 0;
        u64 fired = 0;
    };
    [[nodiscard]] const Point& point(usize index) const { return points_[index]; }
    [[nodiscard]] bool fires(usize index);
    // It fires every time, whatever was drawn.
    void force(usize index) { points_[index].per_million = k_always; }
    // No point fires from now on.
    void disarm();

    // A corelet is about to carry out a request, or has done so and is about to answer: an instant at which it
    // matters who dies. Called on its turn; may not change anything but by scheduling it, by crashing who runs, or
    // by spoiling what is answered.
    struct Moment {
        u16 method = 0;
        bool is_done = false;
        u64 caller = 0;                  // the corelet that asked; 0: a client
        BufferChain* payload = nullptr;  // of the answer, once it is there and no error; may be spoiled
        Bytes request{};                 // as it came, without its payload
    };
    std::function<void(const Moment&)> on_moment;

    // Until it ends, nothing is armed: for another world that runs meanwhile.
    class Suspension {
      public:
        Suspension();
        ~Suspension();
        Suspension(const Suspension&) = delete;
        Suspension& operator=(const Suspension&) = delete;

      private:
        FaultPoints* before_;
    };

  private:
    Prng random_;
    std::array<Point, k_fault_points.size()> points_{};
};

// global: of the run, not of a corelet; null but in the simulator.
inline constinit FaultPoints* armed_fault_points = nullptr;

inline void fault_moment(const FaultPoints::Moment& moment) {
    if (armed_fault_points != nullptr && armed_fault_points->on_moment) armed_fault_points->on_moment(moment);
}

}  // namespace corelet

#define FAULT_POINT(name)                                             \
    (__builtin_expect(::corelet::armed_fault_points != nullptr, 0) && \
     ::corelet::armed_fault_points->fires(::corelet::fault_point_index(name)))
