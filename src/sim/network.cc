#include "sim/network.h"

#include "sim/connect.h"
#include "sim/datagram.h"

namespace corelet::sim {

namespace {

Error error_of(Code code) {
    return {code, false, 0, code == Code::kClosed ? "the connection is closed" : "the connection was reset"};
}

Task<Result<usize>> read_stream(std::shared_ptr<Stream> stream, u32 side, Buffer target, usize offset,
                                usize at_least) {
    usize done = 0;
    while (true) {
        if (stream->side(side).state == Stream::State::kClosed) break;
        done += stream->take(side, target.mutable_data() + offset + done, target.size() - offset - done,
                             at_least - std::min(done, at_least));
        if (done >= at_least) co_return done;
        if (stream->end_of_reading(side)) break;
        co_await stream->side(side).readers.wait();
    }
    co_return std::unexpected(error_of(*stream->end_of_reading(side)));
}

Task<Result<void>> write_stream(std::shared_ptr<Stream> stream, u32 side, BufferChain data) {
    usize done = 0;
    while (done < data.size()) {
        if (auto const end = stream->end_of_writing(side)) co_return std::unexpected(error_of(*end));
        usize const room = stream->room(side);
        if (room == 0) {
            co_await stream->side(side).writers.wait();
            continue;
        }
        usize const part = std::min(room, data.size() - done);
        if (part == data.size()) {
            stream->send(side, data);
        } else {
            stream->send(side, data.slice(done, part));
        }
        done += part;
    }
    if (auto const end = stream->end_of_writing(side)) co_return std::unexpected(error_of(*end));
    co_return Result<void>();
}

class SimConnection final : public Connection {
  public:
    SimConnection(std::shared_ptr<Stream> stream, u32 side) : stream_(std::move(stream)), side_(side) {}
    ~SimConnection() override { stream_->release(side_); }

    Task<Result<usize>> read(Buffer target, usize offset, usize at_least) override {
        process().check_may_act();
        CORELET_ASSERT(at_least >= 1 && offset <= target.size() && at_least <= target.size() - offset);
        return read_stream(stream_, side_, std::move(target), offset, at_least);
    }
    Task<Result<void>> write(BufferChain data) override {
        process().check_may_act();
        return write_stream(stream_, side_, std::move(data));
    }
    void close() override {
        if (!process().tearing_down) stream_->close(side_);
    }
    std::optional<PeerCredentials> peer_credentials() const override {
        if (stream_->side(side_).address.kind != Address::Kind::kUnix) return std::nullopt;
        constexpr u32 k_uid = 1000;  // all nodes of a world are run by one user
        Process const& peer = *stream_->side(1 - side_).process;
        return PeerCredentials{k_uid, k_uid, static_cast<i32>(1000 + peer.node)};
    }
    Address remote_address() const override { return stream_->side(1 - side_).address; }

  private:
    [[nodiscard]] const Process& process() const { return *stream_->side(side_).process; }
    std::shared_ptr<Stream> stream_;
    u32 side_;
};

Task<Result<std::unique_ptr<Connection>>> accept_from(Fabric& fabric, std::shared_ptr<ListenerState> state) {
    while (state->process && state->backlog.empty()) co_await state->acceptors.wait();
    if (!state->process) co_return fail(Code::kClosed, "the listener is closed");
    auto stream = std::move(state->backlog.front());
    state->backlog.pop_front();
    if (!state->backlog.empty()) state->acceptors.notify_one();
    fabric.engine.trace.record(TraceKind::kAccept, state->process->node, stream->id());
    co_return std::make_unique<SimConnection>(std::move(stream), 1);
}

class SimListener final : public Listener {
  public:
    SimListener(Fabric& fabric, std::shared_ptr<ListenerState> state) : fabric_(fabric), state_(std::move(state)) {}
    ~SimListener() override { unbind(); }
    Task<Result<std::unique_ptr<Connection>>> accept() override {
        if (state_->process) state_->process->check_may_act();
        return accept_from(fabric_, state_);
    }
    Address local_address() const override { return state_->address; }
    bool has_its_address() const override {
        auto const bound = fabric_.listeners.find(state_->key);
        return state_->process && bound != fabric_.listeners.end() && bound->second == state_;
    }
    void close() override { unbind(); }

  private:
    void unbind() {
        if (!state_->process) return;
        bool const torn = state_->process->tearing_down;
        auto const bound = fabric_.listeners.find(state_->key);
        if (bound != fabric_.listeners.end() && bound->second == state_) {
            // The file of a unix socket stays when nobody removes it.
            if (!torn || state_->key.path.empty()) fabric_.listeners.erase(bound);
        }
        for (auto& stream : state_->backlog) stream->release(1);
        state_->backlog.clear();
        state_->process = nullptr;
        state_->acceptors.notify_all();
    }
    Fabric& fabric_;
    std::shared_ptr<ListenerState> state_;
};

}  // namespace

Result<std::unique_ptr<Listener>> SimNetwork::listen(const Address& address, ListenOptions options) {
    process_->check_may_act();
    TRY(Fabric::Target target, fabric_.resolve(*process_, address));
    if (target.key.machine != process_->machine)
        return fail(Code::kInvalid, "'" + address.host + "' is not this machine");
    auto state = std::make_shared<ListenerState>();
    state->address = address;
    if (address.kind == Address::Kind::kTcp && address.port == 0) {
        target.key.port = state->address.port = fabric_.take_port(process_->machine);
    }
    auto const bound = fabric_.listeners.find(target.key);
    // A path is taken over when its process is dead, or on demand.
    bool const is_path = address.kind == Address::Kind::kUnix;
    bool const is_stale = bound != fabric_.listeners.end() && bound->second->process == nullptr;
    if (bound != fabric_.listeners.end() && !is_stale && !(is_path && options.replace))
        return fail(Code::kExists, address.to_string() + " is in use");
    state->key = target.key;
    state->loopback = target.loopback;
    state->process = process_;
    fabric_.listeners[target.key] = state;
    return std::make_unique<SimListener>(fabric_, std::move(state));
}

Task<Result<std::unique_ptr<Connection>>> SimNetwork::connect(Address address) {
    process_->check_may_act();
    auto target = fabric_.resolve(*process_, address);
    if (!target) co_return std::unexpected(std::move(target).error());
    ConnectAttempt attempt(fabric_, process_, *std::move(target), std::move(address));
    auto outcome = co_await attempt;
    if (!outcome) co_return std::unexpected(std::move(outcome).error());
    co_return std::make_unique<SimConnection>(*std::move(outcome), 0);
}

Result<std::unique_ptr<DatagramSocket>> SimNetwork::bind_datagram(const Address& address) {
    process_->check_may_act();
    return sim::bind_datagram(fabric_, process_, address);
}

}  // namespace corelet::sim
