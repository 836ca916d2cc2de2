// A simulated world: nodes, the network between them, and one queue of events in virtual time. Everything that
// happens follows from the seed and from what the test does; the hash of a run says whether two were equal.
//
//     sim::World world(seed);
//     auto& a = world.add_node("a");
//     a.start([](Env& env) { return my_main(&env); });
//     world.run_until([&] { return done; }, 10_s);
//     a.crash();
//     a.restart();
//
// Programs are plain code against the interfaces of rt. Between events, and from within them, a test may call
// anything here.
#pragma once

#include "rt/combine.h"
#include "sim/node.h"

namespace corelet::sim {

struct WorldOptions {
    NetworkModel network;
    DiskModel disk;  // of nodes that bring none of their own
    bool shuffle_ready =
        true;  // which of the ready tasks goes next is drawn from the seed; else first come, first served
    i64 drift_ppm_max = 5'000;  // of monotonic clocks: two nodes differ by 1 % at most
    LogLevel log_level = LogLevel::kInfo;
};

class World {
  public:
    explicit World(u64 seed, WorldOptions options = {});
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // Its tcp host name is its name.
    Node& add_node(std::string name);
    Node& add_node(std::string name, NodeOptions options);
    [[nodiscard]] Node& node(usize index) { return *nodes_[index]; }
    [[nodiscard]] Node& node(std::string_view name);
    [[nodiscard]] usize node_count() const { return nodes_.size(); }

    // Runs all events of the time span. False if the run has failed.
    bool run_for(Duration span);
    // Runs until the predicate holds, asked after each event. False when the bound passes or the run fails first.
    // That nothing at all can happen any more while tasks wait is a failure, with a backtrace of all nodes.
    bool run_until(const std::function<bool()>& predicate, Duration bound);
    // Runs the task in a node's program to its end. Empty if it did not end within the bound, or its node crashed.
    template <class T>
    std::optional<T> run(Node& where, Task<T> task, Duration bound = k_run_bound) {
        auto slot = std::make_shared<std::optional<T>>();
        where.spawn(keep_result(std::move(task), slot));
        run_until([&] { return slot->has_value(); }, bound);
        return std::move(*slot);
    }
    // The same for a task without a result; says whether it ended.
    bool run(Node& where, Task<void> task, Duration bound = k_run_bound);
    // Calls it in so much time, between events.
    void call_in(Duration delay, std::move_only_function<void()> function);
    static constexpr Duration k_run_bound{600'000'000'000};

    // Cuts between each node of one set and each of the other; cuts add up, heal_network undoes all.
    void partition(const std::vector<u32>& side, const std::vector<u32>& other_side);
    void partition_one_way(const std::vector<u32>& from, const std::vector<u32>& to);
    void isolate(u32 node);
    void heal_network() { fabric_.mend_all(); }

    [[nodiscard]] VirtualTime now() const { return engine_.now(); }
    [[nodiscard]] u64 seed() const { return engine_.seed; }
    // A generator for the test's own choices; the same name gives the same one.
    [[nodiscard]] Prng fork(std::string_view name) const { return engine_.prng.fork(name); }
    [[nodiscard]] Fabric& fabric() { return fabric_; }
    [[nodiscard]] Engine& engine() { return engine_; }
    [[nodiscard]] Stats& stats() { return engine_.stats; }
    [[nodiscard]] Trace& trace() { return engine_.trace; }
    [[nodiscard]] u64 hash() const { return engine_.trace.hash(); }
    // Events of the queue fired, and tasks resumed.
    [[nodiscard]] u64 events() const;

    // Fails the run: a judge's verdict. The first one counts.
    void fail(std::string reason) { engine_.fail(std::move(reason)); }
    [[nodiscard]] bool failed() const { return !engine_.failure.empty(); }
    [[nodiscard]] const std::string& failure() const { return engine_.failure; }
    // An error logged under this name is part of the plan.
    void expect_error(std::string event) { log_policy_.expected_errors.insert(std::move(event)); }
    // What hangs, and on what.
    [[nodiscard]] std::string backtraces() const;
    // The last log lines, for a report.
    [[nodiscard]] const std::deque<std::string>& recent_log() const { return log_policy_.recent; }

  private:
    template <class T>
    static Task<void> keep_result(Task<T> task, std::shared_ptr<std::optional<T>> slot) {
        slot->emplace(co_await std::move(task));
    }
    static Task<void> keep_end(Task<void> task, std::shared_ptr<bool> ended);
    void run_ready_nodes();

    WorldOptions options_;
    Engine engine_;
    LogPolicy log_policy_;
    Fabric fabric_;
    IntrusiveList<Node> ready_;
    std::map<std::string, u32, std::less<>> machines_;
    std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace corelet::sim
