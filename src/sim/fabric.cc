#include "sim/fabric.h"

#include "sim/stream.h"

namespace corelet::sim {

Fabric::Fabric(Engine& shared_engine, NetworkModel network_model)
    : model(network_model),
      engine(shared_engine),
      prng(shared_engine.prng.fork("network")),
      streams_(new IntrusiveList<Stream>) {}

Fabric::~Fabric() {
    listeners.clear();
    sockets.clear();
    delete streams_;
}

void Fabric::add_node(std::string name, u32 machine) {
    u32 const index = static_cast<u32>(nodes_.size());
    CORELET_ASSERT(!names_.contains(name), "two nodes of one name");
    names_.emplace(name, index);
    nodes_.push_back({std::move(name), machine});
    if (machine >= powered_.size()) powered_.resize(machine + 1, k_never_powered);
    for (auto& row : links_) row.resize(nodes_.size());
    links_.emplace_back().resize(nodes_.size());
}

void Fabric::power_on(u32 machine) {
    if (powered_[machine] == k_never_powered) powered_[machine] = 0;
    if (++powered_[machine] > 1) return;
    for (u32 to = 0; to < nodes_.size(); ++to) {
        if (nodes_[to].machine != machine) continue;
        for (u32 from = 0; from < nodes_.size(); ++from) wake(from, to);
    }
}

void Fabric::power_off(u32 machine) {
    CORELET_ASSERT(powered_[machine] > 0 && powered_[machine] != k_never_powered);
    --powered_[machine];
}

bool Fabric::passes(u32 from, u32 to) const {
    if (from == to) return true;
    if (powered_[nodes_[to].machine] == 0) return false;
    if (nodes_[from].machine == nodes_[to].machine) return true;
    Link const& l = link(from, to);
    return l.cuts == 0 && l.clogged_until <= engine.now();
}

void Fabric::cut(u32 from, u32 to) {
    ++link(from, to).cuts;
}

void Fabric::mend(u32 from, u32 to) {
    Link& l = link(from, to);
    if (l.cuts > 0) --l.cuts;  // none is left when all was mended meanwhile
    wake(from, to);
}

void Fabric::mend_all() {
    for (u32 from = 0; from < nodes_.size(); ++from) {
        for (u32 to = 0; to < nodes_.size(); ++to) {
            Link& l = link(from, to);
            l.cuts = 0;
            l.clogged_until = {};
            l.extra_delay = {};
            wake(from, to);
        }
    }
}

void Fabric::clog(u32 from, u32 to, Duration for_so_long) {
    Link& l = link(from, to);
    VirtualTime const until = engine.now() + for_so_long;
    if (until <= l.clogged_until) return;
    l.clogged_until = until;
    engine.queue.call_at(until, [this, from, to] { wake(from, to); });
}

void Fabric::lose_port(u32 node, u16 port) {
    lost_ports_.insert({nodes_[node].machine, port, {}});
}

void Fabric::restore_port(u32 node, u16 port) {
    lost_ports_.erase({nodes_[node].machine, port, {}});
    for (u32 other = 0; other < nodes_.size(); ++other) {
        wake(other, node);
        wake(node, other);
    }
}

void Fabric::set_delay(u32 from, u32 to, Duration extra) {
    link(from, to).extra_delay = extra;
}

void Fabric::park(Parked& parked, u32 from, u32 to) {
    if (parked.is_linked()) return;
    Link& l = link(from, to);
    if (!l.parked) l.parked = std::make_unique<IntrusiveList<Parked>>();
    l.parked->push_back(parked);
}

void Fabric::wake(u32 from, u32 to) {
    Link& l = link(from, to);
    if (!l.parked || !passes(from, to)) return;
    // A sender that heard nothing doubled its time-out: it takes a while until it tries again.
    constexpr u64 k_retransmit_max_ns = 200'000'000;
    while (!l.parked->empty()) {
        Parked& parked = l.parked->pop_front();
        parked.link_is_back(Duration{static_cast<i64>(prng.below(k_retransmit_max_ns))});
    }
}

Duration Fabric::draw_latency(u32 from, u32 to) {
    bool const local = from == to || nodes_[from].machine == nodes_[to].machine;
    i64 ns = local ? model.local_latency_min.ns : model.latency_min.ns;
    i64 const spread = local ? model.local_latency_spread.ns : model.latency_spread.ns;
    // One draw serves both: the low bits say where in the spread, the high ones whether it lies in the tail.
    u64 const drawn = prng.next();
    ns += static_cast<i64>((static_cast<u128>(drawn & UINT32_MAX) * static_cast<u64>(spread)) >> 32);
    if (((drawn >> 32) * 1'000'000) >> 32 < model.tail_per_million && model.tail.ns > 0) {
        ns += static_cast<i64>(prng.below(static_cast<u64>(model.tail.ns)));
    }
    return Duration{ns} + link(from, to).extra_delay;
}

VirtualTime Fabric::draw_arrival(u32 from, u32 to, usize bytes) {
    VirtualTime leaves = engine.now();
    if (model.bytes_per_second != 0 && nodes_[from].machine != nodes_[to].machine) {
        Link& l = link(from, to);
        leaves = std::max(leaves, l.busy_until) +
                 Duration{static_cast<i64>(bytes * 1'000'000'000 / model.bytes_per_second)};
        l.busy_until = leaves;
    }
    return leaves + draw_latency(from, to);
}

Result<Fabric::Target> Fabric::resolve(const Process& process, const Address& address) const {
    if (address.kind == Address::Kind::kUnix) {
        if (address.host.empty() || address.host.size() > k_unix_path_bytes_max)
            return fail(Code::kInvalid, "a unix socket's path has 1 to 107 bytes");
        return Target{process.node, {process.machine, 0, address.host}, true};
    }
    if (address.is_local()) return Target{process.node, {process.machine, address.port, {}}, true};
    if (address.host == "0.0.0.0" || address.host == "::")
        return Target{process.node, {process.machine, address.port, {}}, false};
    auto const found = names_.find(address.host);
    if (found == names_.end()) return fail(Code::kInvalid, "no host is called '" + address.host + "'");
    return Target{found->second, {nodes_[found->second].machine, address.port, {}}, false};
}

u16 Fabric::take_port(u32 machine) {
    constexpr u16 k_first = 32'768;
    u16& next = next_port_[machine];
    if (next < k_first) next = k_first;
    return next++;
}

void Fabric::enlist(Stream& stream) {
    streams_->push_back(stream);
    ++live_streams_;
}

void Fabric::reset_streams(u32 a, u32 b) {
    std::vector<std::shared_ptr<Stream>> broken;
    for (usize i = 0; i < live_streams_; ++i) {
        Stream& stream = streams_->at(i);
        u32 const from = stream.side(0).process->node, to = stream.side(1).process->node;
        if ((from == a && to == b) || (from == b && to == a)) broken.push_back(stream.shared_from_this());
    }
    for (auto const& stream : broken) {
        stream->break_side(0);
        stream->break_side(1);
        engine.stats.count_fault(FaultKind::kReset);
    }
}

bool Fabric::reset_random_stream(Prng& draw, bool half_open) {
    if (live_streams_ == 0) return false;
    Stream& stream = streams_->at(draw.below(live_streams_));
    CORELET_ASSERT(stream.is_live());
    u32 const first = static_cast<u32>(draw.below(2));
    auto const keep = stream.shared_from_this();
    stream.break_side(first);
    if (!half_open) stream.break_side(1 - first);
    engine.stats.count_fault(half_open ? FaultKind::kHalfOpen : FaultKind::kReset);
    return true;
}

}  // namespace corelet::sim
