#include "sim/world.h"

namespace corelet::sim {

World::World(u64 seed, WorldOptions options)
    : options_(std::move(options)), engine_(seed), fabric_(engine_, options_.network) {
    log_policy_.level = options_.log_level;
}

World::~World() = default;

Node& World::add_node(std::string name) {
    NodeOptions options;
    options.disk = options_.disk;
    return add_node(std::move(name), std::move(options));
}

Node& World::add_node(std::string name, NodeOptions options) {
    u32 const index = static_cast<u32>(nodes_.size());
    std::string const host = options.host.empty() ? "host of " + name : options.host;
    u32 const machine = machines_.try_emplace(host, static_cast<u32>(machines_.size())).first->second;
    fabric_.add_node(name, machine);
    Node::Shared const shared{
        engine_, fabric_, log_policy_, ready_, options_.shuffle_ready, options_.drift_ppm_max};
    nodes_.push_back(std::make_unique<Node>(shared, index, std::move(name), machine, std::move(options)));
    return *nodes_.back();
}

Node& World::node(std::string_view name) {
    for (auto& node : nodes_) {
        if (node->name() == name) return *node;
    }
    CORELET_UNREACHABLE("no node has this name");
}

void World::run_ready_nodes() {
    while (!ready_.empty() && !failed()) ready_.pop_front().run_turn();
}

bool World::run_for(Duration span) {
    VirtualTime const end = now() + span;
    run_ready_nodes();
    while (!failed() && !engine_.queue.empty() && engine_.queue.next_time() <= end) {
        engine_.queue.run_next();
        run_ready_nodes();
    }
    if (!failed()) engine_.queue.advance_to(end);
    return !failed();
}

bool World::run_until(const std::function<bool()>& predicate, Duration bound) {
    VirtualTime const end = now() + bound;
    run_ready_nodes();
    while (!failed()) {
        if (predicate()) return true;
        if (engine_.queue.empty()) {
            usize waiting = 0;
            for (auto const& node : nodes_) waiting += node->live_tasks();
            if (waiting != 0) fail("deadlock: tasks wait, and nothing will ever happen\n" + backtraces());
            return false;
        }
        if (engine_.queue.next_time() > end) {
            engine_.queue.advance_to(end);
            return false;
        }
        engine_.queue.run_next();
        run_ready_nodes();
    }
    return false;
}

Task<void> World::keep_end(Task<void> task, std::shared_ptr<bool> ended) {
    co_await std::move(task);
    *ended = true;
}

bool World::run(Node& where, Task<void> task, Duration bound) {
    auto ended = std::make_shared<bool>(false);
    where.spawn(keep_end(std::move(task), ended));
    return run_until([&] { return *ended; }, bound);
}

void World::call_in(Duration delay, std::move_only_function<void()> function) {
    engine_.queue.call_at(now() + delay, std::move(function));
}

void World::partition(const std::vector<u32>& side, const std::vector<u32>& other_side) {
    partition_one_way(side, other_side);
    partition_one_way(other_side, side);
    stats().count_fault(FaultKind::kPartition);
}

void World::partition_one_way(const std::vector<u32>& from, const std::vector<u32>& to) {
    for (u32 const a : from) {
        for (u32 const b : to) {
            CORELET_ASSERT(a != b, "a node cannot be cut from itself");
            fabric_.cut(a, b);
        }
    }
}

void World::isolate(u32 node) {
    for (u32 other = 0; other < nodes_.size(); ++other) {
        if (other == node) continue;
        fabric_.cut(node, other);
        fabric_.cut(other, node);
    }
    stats().count_fault(FaultKind::kIsolation);
}

u64 World::events() const {
    u64 sum = engine_.queue.fired();
    for (auto const& node : nodes_) sum += node->resumptions();
    return sum;
}

std::string World::backtraces() const {
    std::string out;
    for (auto const& node : nodes_) out += node->backtrace();
    return out;
}

}  // namespace corelet::sim
