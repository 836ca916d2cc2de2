// A node's clocks. The monotonic one drifts within 1 % and starts anywhere; it never goes back while the machine is
// up. The wall clock is off and jumps.
#pragma once

#include "rt/clock.h"
#include "sim/engine.h"

namespace corelet::sim {

// Local time as a function of true time; survives restarts of the process, restarts with the machine.
class ClockState {
  public:
    static constexpr i64 k_drift_ppm_max = 10'000;

    void start(VirtualTime now, Instant local, i64 drift_ppm);
    // From now on the clock gains `ppm` millionths (negative: loses); within 1 %.
    void set_drift(VirtualTime now, i64 ppm);
    // A stopped clock stands still: a machine that is paused from outside.
    void stop(VirtualTime now);
    void go_on(VirtualTime now);
    void jump_wall(Duration by) { wall_offset_ = wall_offset_ + by; }

    [[nodiscard]] Instant local(VirtualTime now) const;
    [[nodiscard]] WallTime wall(VirtualTime now) const;
    // The first moment at which the local clock shows `when` or more.
    [[nodiscard]] VirtualTime true_time(Instant when) const;
    [[nodiscard]] i64 drift_ppm() const { return drift_ppm_; }
    [[nodiscard]] bool is_stopped() const { return stopped_; }

  private:
    VirtualTime base_true_;
    Instant base_local_;
    i64 drift_ppm_ = 0;
    i64 drift_q32_ = 0;  // the same in units of 2^-32
    Duration wall_offset_;
    bool stopped_ = false;
};

class SimClock final : public Clock, private Event {
  public:
    SimClock(Engine& engine, u32 node, ClockState& state) : engine_(engine), node_(node), state_(state) {}
    [[nodiscard]] Instant now() const override { return state_.local(engine_.now()); }
    [[nodiscard]] WallTime wall_now() const override { return state_.wall(engine_.now()); }
    // While held, no timer fires: the process does not run.
    void hold();
    void release();
    // After the state's rate changed.
    void retime();
    [[nodiscard]] usize armed() const { return heap_.size(); }

  private:
    void insert_timer(Timer& timer) override;
    void remove_timer(Timer& timer) override { heap_.remove(timer); }
    void fire() override;
    Engine& engine_;
    u32 node_;
    ClockState& state_;
    TimerHeap heap_;
    bool held_ = false;
};

}  // namespace corelet::sim
