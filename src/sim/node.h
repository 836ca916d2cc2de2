// A node of the simulated world: a machine (or a part of one) on which a program boots, crashes and boots again.
// Disks and clock belong to the machine, everything else to the program's run.
#pragma once

#include "rt/env.h"
#include "sim/clock.h"
#include "sim/disk.h"
#include "sim/log.h"
#include "sim/network.h"
#include "sim/spawn.h"

namespace corelet::sim {

struct NodeOptions {
    std::string
        host;  // nodes of one host share unix sockets, ports and the local network; default: a host of its own
    DiskModel disk;
};

class Node final : public ListNode {
  public:
    // Makes the program's main task; called at each boot.
    using Boot = std::function<Task<void>(Env&)>;

    struct Shared {
        Engine& engine;
        Fabric& fabric;
        LogPolicy& log_policy;
        IntrusiveList<Node>& ready;  // whose executor has something to run
        bool const& shuffle_ready;
        i64 const& drift_ppm_max;
    };
    Node(Shared shared, u32 index, std::string name, u32 machine, NodeOptions options);
    ~Node();

    [[nodiscard]] u32 index() const { return index_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] bool is_up() const { return run_ != nullptr; }
    [[nodiscard]] bool is_paused() const { return paused_; }
    // It is its turn: what asks runs in it.
    [[nodiscard]] bool is_running() const;
    [[nodiscard]] u64 boots() const { return boots_; }

    // Boots the machine, if it has no power, and the program. It must not be up.
    void start(Boot boot);
    // Again, with what it was last started with.
    void restart() { start(boot_); }
    // Ends the program between two awaits: every task of it is dropped. If it is called by the program itself, as
    // soon as the running task suspends. Nothing happens if it is not up.
    void crash(Ending ending = Ending::kPower);
    // Crashes it when so many more tasks have gone on, or so many more disk operations were issued: any await can
    // be the last.
    void crash_after_resumptions(u64 count, Ending ending = Ending::kPower);
    void crash_after_disk_operations(u64 count, Ending ending = Ending::kPower);
    void disarm_crash() { resumptions_left_ = operations_left_ = 0; }

    // SIGSTOP, or a machine that is stopped from outside, whose clock stands still too. Sockets stay open, messages
    // queue up, timers come late.
    void pause(bool clock_stops = false);
    void resume();
    // Each turn of its executor begins up to so much late: a machine that still works, badly.
    void set_turn_delay(Duration max) { turn_delay_ = max; }
    void set_drift(i64 ppm);
    void jump_wall_clock(Duration by) { clock_state_.jump_wall(by); }
    [[nodiscard]] const ClockState& clock_state() const { return clock_state_; }

    [[nodiscard]] Media& media() { return media_; }
    // Of the present run; it must be up.
    [[nodiscard]] Env& env();
    // Runs a task in the program's root scope, beside its main task.
    void spawn(Task<void> task);
    [[nodiscard]] std::string backtrace() const;
    [[nodiscard]] usize live_tasks() const;
    [[nodiscard]] u64 resumptions() const;
    // How often its programs have run: while it stays the same they have changed nothing.
    [[nodiscard]] u64 turns() const { return turns_; }

    // For the world: runs all that is ready.
    void run_turn();

  private:
    struct Run;
    struct TurnEvent final : Event {
        Node* node = nullptr;
        void fire() override { node->become_ready(); }
    };
    void woken();
    void become_ready();
    void count_disk_operation();
    void end_run(Ending ending);

    Shared shared_;
    u32 index_;
    std::string name_;
    u32 machine_;
    Media media_;
    ClockState clock_state_;
    Prng schedule_;  // the order of ready tasks, and how late turns are
    Boot boot_;
    u64 boots_ = 0;
    u64 past_resumptions_ = 0;
    u64 turns_ = 0;
    bool has_power_ = false;
    bool paused_ = false;
    Duration turn_delay_;
    TurnEvent turn_;
    u64 resumptions_left_ = 0;  // until a crash; 0: none is due
    u64 operations_left_ = 0;
    Ending due_ending_ = Ending::kPower;
    std::optional<Ending> requested_;
    std::unique_ptr<Run> run_;
};

}  // namespace corelet::sim
