#include "sim/datagram.h"

namespace corelet::sim {

namespace {

constexpr usize k_datagram_bytes_max = 64 * k_kib;

// One datagram on its way.
class Flight final : public Event {
  public:
    Flight(Fabric& fabric, u32 from, Fabric::Target target, Datagram datagram)
        : fabric_(fabric), from_(from), target_(std::move(target)), datagram_(std::move(datagram)) {}

  private:
    void fire() override {
        if (!fabric_.passes(from_, target_.node) || fabric_.is_lost(target_.key)) return;
        auto const bound = fabric_.sockets.find(target_.key);
        if (bound == fabric_.sockets.end()) return;
        SocketState& socket = *bound->second;
        if (socket.queue.size() >= fabric_.model.datagram_queue) return;
        fabric_.engine.trace.record(TraceKind::kDatagram, socket.process->node, from_, datagram_.data.size());
        socket.queue.push_back(std::move(datagram_));
        socket.receivers.notify_one();
    }
    Fabric& fabric_;
    u32 from_;
    Fabric::Target target_;
    Datagram datagram_;
};

void launch(Fabric& fabric, u32 from, const Fabric::Target& target, Datagram datagram) {
    VirtualTime arrival = fabric.draw_arrival(from, target.node, datagram.data.size());
    bool const remote = fabric.machine_of(from) != fabric.machine_of(target.node);
    if (remote && fabric.prng.chance(fabric.model.datagram_reorder_per_million, 1'000'000)) {
        constexpr u64 k_late_ns = 50'000'000;
        arrival = arrival + Duration{static_cast<i64>(fabric.prng.below(k_late_ns))};
        fabric.engine.stats.count_fault(FaultKind::kDatagramReorder);
    }
    fabric.engine.queue.schedule_owned(std::make_unique<Flight>(fabric, from, target, std::move(datagram)),
                                       arrival);
}

Task<Result<Datagram>> receive_from(std::shared_ptr<SocketState> state) {
    while (state->queue.empty()) co_await state->receivers.wait();
    Datagram datagram = std::move(state->queue.front());
    state->queue.pop_front();
    if (!state->queue.empty()) state->receivers.notify_one();
    co_return datagram;
}

class SimDatagramSocket final : public DatagramSocket {
  public:
    SimDatagramSocket(Fabric& fabric, std::shared_ptr<SocketState> state)
        : fabric_(fabric), state_(std::move(state)) {}
    ~SimDatagramSocket() override {
        auto const bound = fabric_.sockets.find(state_->key);
        if (bound != fabric_.sockets.end() && bound->second == state_) fabric_.sockets.erase(bound);
    }
    void send(const Address& to, Buffer data) override {
        state_->process->check_may_act();
        CORELET_ASSERT(data.size() <= k_datagram_bytes_max);
        auto const target = fabric_.resolve(*state_->process, to);
        if (!target) return;
        u32 const from = state_->process->node;
        bool const remote = fabric_.machine_of(from) != target->key.machine;
        NetworkModel const& model = fabric_.model;
        if (!fabric_.passes(from, target->node) || (remote && fabric_.is_lost(state_->key))) return;
        if (remote && fabric_.prng.chance(model.datagram_loss_per_million, 1'000'000)) {
            fabric_.engine.stats.count_fault(FaultKind::kDatagramLoss);
            return;
        }
        if (remote && fabric_.prng.chance(model.datagram_duplicate_per_million, 1'000'000)) {
            fabric_.engine.stats.count_fault(FaultKind::kDatagramDuplicate);
            launch(fabric_, from, *target, {source(), data});
        }
        launch(fabric_, from, *target, {source(), std::move(data)});
    }
    Task<Result<Datagram>> receive() override {
        state_->process->check_may_act();
        return receive_from(state_);
    }
    Address local_address() const override { return state_->address; }

  private:
    // Bound to every address, it sends from the node's own.
    [[nodiscard]] Address source() const {
        Address const& own = state_->address;
        if (own.kind == Address::Kind::kTcp && (own.host == "0.0.0.0" || own.host == "::"))
            return Address::tcp(fabric_.node_name(state_->process->node), own.port);
        return own;
    }
    Fabric& fabric_;
    std::shared_ptr<SocketState> state_;
};

}  // namespace

Result<std::unique_ptr<DatagramSocket>> bind_datagram(Fabric& fabric, std::shared_ptr<Process> process,
                                                      const Address& address) {
    TRY(Fabric::Target target, fabric.resolve(*process, address));
    if (target.key.machine != process->machine)
        return fail(Code::kInvalid, "'" + address.host + "' is not this machine");
    auto state = std::make_shared<SocketState>();
    state->address = address;
    if (address.kind == Address::Kind::kTcp && address.port == 0) {
        target.key.port = state->address.port = fabric.take_port(process->machine);
    }
    if (fabric.sockets.contains(target.key)) return fail(Code::kExists, address.to_string() + " is in use");
    state->key = target.key;
    state->process = std::move(process);
    fabric.sockets[target.key] = state;
    return std::make_unique<SimDatagramSocket>(fabric, std::move(state));
}

}  // namespace corelet::sim
