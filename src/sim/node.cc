#include "sim/node.h"

namespace corelet::sim {

struct Node::Run {
    Run(Node& node, u64 boot, std::shared_ptr<Process> its_process)
        : process(std::move(its_process)),
          clock(node.shared_.engine, node.index_, node.clock_state_),
          network(node.shared_.fabric, process),
          disk(node.media_, process),
          prng(node.shared_.engine.prng.fork("node", node.index_).fork("boot", boot)),
          spawn(node.shared_.engine, process, prng.fork("offload")),
          log(node.shared_.engine, node.shared_.log_policy, node.index_, node.name_),
          env{executor, clock, network, disk, prng, spawn, log} {}

    std::shared_ptr<Process> process;
    Executor executor;
    SimClock clock;
    SimNetwork network;
    SimDisk disk;
    Prng prng;
    SimSpawn spawn;
    SimLog log;
    Env env;
    Scope scope{executor};
};

Node::Node(Shared shared, u32 index, std::string name, u32 machine, NodeOptions options)
    : shared_(shared),
      index_(index),
      name_(std::move(name)),
      machine_(machine),
      media_(shared.engine, index, options.disk),
      schedule_(shared.engine.prng.fork("schedule", index)) {
    turn_.node = this;
    media_.on_issue = [this] { count_disk_operation(); };
}

bool Node::is_running() const {
    return run_ != nullptr && run_->executor.is_running();
}

Node::~Node() {
    if (run_) end_run(Ending::kPower);
}

void Node::start(Boot boot) {
    CORELET_ASSERT(!is_up(), "it is up already");
    CORELET_ASSERT(boot != nullptr);
    Engine& engine = shared_.engine;
    boot_ = std::move(boot);
    ++boots_;
    if (!has_power_) {
        has_power_ = true;
        // A machine's clock counts from its own power-on.
        constexpr u64 k_uptime_max_ns = 1'000'000'000'000;
        Prng clock_prng = engine.prng.fork("clock", index_).fork("power-on", boots_);
        Instant const uptime{static_cast<i64>(clock_prng.below(k_uptime_max_ns))};
        u64 const drift_max = static_cast<u64>(shared_.drift_ppm_max);
        i64 const drift = static_cast<i64>(clock_prng.below(2 * drift_max + 1)) - shared_.drift_ppm_max;
        clock_state_.start(engine.now(), uptime, drift);
        shared_.fabric.power_on(machine_);
    }
    auto process = std::make_shared<Process>();
    process->node = index_;
    process->machine = machine_;
    process->boot = boots_;
    run_ = std::make_unique<Run>(*this, boots_, std::move(process));
    run_->executor.set_wakeup([this] { woken(); });
    if (shared_.shuffle_ready) {
        run_->executor.set_picker([this](usize count) { return count == 1 ? 0 : schedule_.below(count); });
    }
    engine.trace.record(TraceKind::kBoot, index_, boots_);
    run_->scope.spawn(boot_(run_->env));
}

void Node::crash(Ending ending) {
    if (!run_) return;
    if (run_->executor.is_running()) {
        requested_ = ending;
        return;
    }
    shared_.engine.trace.record(TraceKind::kCrash, index_, boots_, static_cast<u64>(ending));
    shared_.engine.stats.count_fault(ending == Ending::kKill ? FaultKind::kKill : FaultKind::kPowerLoss);
    end_run(ending);
}

void Node::end_run(Ending ending) {
    unlink();
    turn_.cancel();
    requested_.reset();
    resumptions_left_ = operations_left_ = 0;
    paused_ = false;
    past_resumptions_ += run_->executor.resumptions();
    Process& process = *run_->process;
    process.ending = ending;
    process.tearing_down = true;
    if (ending == Ending::kPower) {
        has_power_ = false;
        shared_.fabric.power_off(machine_);
    }
    run_->executor.set_wakeup({});
    run_->scope.cancel();
    CORELET_ASSERT(run_->executor.live_tasks() == 0, "tasks outlive the program's root scope");
    process.tearing_down = false;
    process.ended = true;
    run_.reset();
    media_.end_process(ending);
}

void Node::crash_after_resumptions(u64 count, Ending ending) {
    CORELET_ASSERT(count > 0);
    resumptions_left_ = count;
    due_ending_ = ending;
}

void Node::crash_after_disk_operations(u64 count, Ending ending) {
    CORELET_ASSERT(count > 0);
    operations_left_ = count;
    due_ending_ = ending;
}

void Node::count_disk_operation() {
    if (operations_left_ != 0 && --operations_left_ == 0) requested_ = due_ending_;
}

void Node::pause(bool clock_stops) {
    if (!run_ || paused_) return;
    paused_ = true;
    unlink();
    turn_.cancel();
    run_->clock.hold();
    if (clock_stops) clock_state_.stop(shared_.engine.now());
    shared_.engine.trace.record(TraceKind::kPause, index_, boots_);
    shared_.engine.stats.count_fault(FaultKind::kPause);
}

void Node::resume() {
    if (!run_ || !paused_) return;
    paused_ = false;
    if (clock_state_.is_stopped()) clock_state_.go_on(shared_.engine.now());
    shared_.engine.trace.record(TraceKind::kResume, index_, boots_);
    run_->clock.release();
    if (run_->executor.has_ready()) woken();
}

void Node::set_drift(i64 ppm) {
    if (!has_power_) return;
    clock_state_.set_drift(shared_.engine.now(), ppm);
    if (run_) run_->clock.retime();
}

Env& Node::env() {
    CORELET_ASSERT(is_up());
    return run_->env;
}

void Node::spawn(Task<void> task) {
    CORELET_ASSERT(is_up());
    run_->scope.spawn(std::move(task));
}

std::string Node::backtrace() const {
    if (!run_) return name_ + " is down\n";
    return name_ + (paused_ ? " is paused, " : ", ") + std::to_string(run_->executor.live_tasks()) + " tasks\n" +
           run_->executor.backtrace();
}

usize Node::live_tasks() const {
    return run_ ? run_->executor.live_tasks() : 0;
}

u64 Node::resumptions() const {
    return past_resumptions_ + (run_ ? run_->executor.resumptions() : 0);
}

void Node::woken() {
    if (paused_ || is_linked() || turn_.is_scheduled()) return;
    if (turn_delay_.ns == 0) {
        become_ready();
    } else {
        Duration const late{static_cast<i64>(schedule_.below(static_cast<u64>(turn_delay_.ns)))};
        shared_.engine.queue.schedule_in(turn_, late);
    }
}

void Node::become_ready() {
    if (!is_linked()) shared_.ready.push_back(*this);
}

void Node::run_turn() {
    CORELET_ASSERT(run_ && !paused_);
    ++turns_;
    // More than this without time passing is a loop that never waits.
    constexpr u64 k_turn_max = 5'000'000;
    Executor& executor = run_->executor;
    for (u64 done = 0; executor.has_ready(); ++done) {
        executor.run_ready(1);
        shared_.engine.trace.record(TraceKind::kTurn, index_, executor.resumptions(), run_->prng.draws());
        if (resumptions_left_ != 0 && --resumptions_left_ == 0) requested_ = due_ending_;
        if (requested_) {
            crash(*requested_);
            return;
        }
        if (done < k_turn_max) continue;
        shared_.engine.fail("livelock: " + name_ + " never waits\n" + backtrace());
        return;
    }
}

}  // namespace corelet::sim
