#include "gateway/nbd/world_testing.h"

namespace corelet::nbd {

struct MemoryNetwork::Door {
    std::deque<std::shared_ptr<Wire>> waiting;
    bool closed = false;
    Notify changed;
    MemoryNetwork* network = nullptr;
};

namespace {

Task<Result<usize>> read_wire(std::shared_ptr<Wire> wire, Buffer target, usize offset, usize at_least) {
    Pipe& pipe = wire->to_server;
    usize done = 0;
    while (true) {
        if (wire->reset) co_return fail(Code::kReset, "reset");
        if (wire->server_closed) co_return fail(Code::kClosed, "closed");
        usize const part = std::min(pipe.bytes.size(), target.size() - offset - done);
        std::copy_n(pipe.bytes.begin(), part, target.mutable_data() + offset + done);
        pipe.bytes.erase(pipe.bytes.begin(), pipe.bytes.begin() + static_cast<std::ptrdiff_t>(part));
        done += part;
        if (done >= at_least) co_return done;
        if (pipe.ended) co_return fail(Code::kClosed, "ended");
        co_await pipe.changed.wait();
    }
}

Task<Result<void>> write_wire(std::shared_ptr<Wire> wire, BufferChain data) {
    Pipe& pipe = wire->to_client;
    ++pipe.writes;
    for (const Buffer& part : data.parts()) {
        usize done = 0;
        while (done < part.size()) {
            if (wire->reset) co_return fail(Code::kReset, "reset");
            if (wire->server_closed) co_return fail(Code::kClosed, "closed");
            usize const here = std::min(part.size() - done, pipe.room - std::min(pipe.room, pipe.bytes.size()));
            pipe.bytes.insert(pipe.bytes.end(), part.data() + done, part.data() + done + here);
            done += here;
            if (done < part.size()) co_await pipe.changed.wait();
        }
    }
    co_return Result<void>();
}

void close_wire(Wire& wire) {
    wire.server_closed = true;
    wire.to_server.changed.notify_all();
    wire.to_client.changed.notify_all();
}

class MemoryConnection final : public Connection {
  public:
    explicit MemoryConnection(std::shared_ptr<Wire> wire) : wire_(std::move(wire)) {}
    ~MemoryConnection() override { wire_->server_closed = true; }
    Task<Result<usize>> read(Buffer target, usize offset, usize at_least) override {
        CORELET_ASSERT(at_least >= 1 && offset <= target.size() && at_least <= target.size() - offset);
        return read_wire(wire_, std::move(target), offset, at_least);
    }
    Task<Result<void>> write(BufferChain data) override {
        CORELET_ASSERT(!data.empty(), "nothing to write");
        return write_wire(wire_, std::move(data));
    }
    void close() override { close_wire(*wire_); }
    std::optional<PeerCredentials> peer_credentials() const override { return std::nullopt; }
    Address remote_address() const override { return Address::unix_path("client"); }

  private:
    std::shared_ptr<Wire> wire_;
};

Task<Result<std::unique_ptr<Connection>>> accept_wire(std::shared_ptr<MemoryNetwork::Door> door) {
    while (true) {
        if (auto const code = std::exchange(door->network->fail_accept, std::nullopt))
            co_return fail(*code, "the test said so");
        if (door->closed) co_return fail(Code::kClosed, "closed");
        if (!door->waiting.empty()) {
            std::unique_ptr<Connection> connection = std::make_unique<MemoryConnection>(door->waiting.front());
            door->waiting.pop_front();
            co_return connection;
        }
        co_await door->changed.wait();
    }
}

class MemoryListener final : public Listener {
  public:
    MemoryListener(Address address, std::shared_ptr<MemoryNetwork::Door> door)
        : address_(std::move(address)), door_(std::move(door)) {}
    Task<Result<std::unique_ptr<Connection>>> accept() override { return accept_wire(door_); }
    Address local_address() const override { return address_; }
    bool has_its_address() const override { return !door_->closed; }
    void close() override {
        door_->closed = true;
        door_->changed.notify_all();
    }

  private:
    Address address_;
    std::shared_ptr<MemoryNetwork::Door> door_;
};

}  // namespace

Result<std::unique_ptr<Listener>> MemoryNetwork::listen(const Address& address, ListenOptions options) {
    std::shared_ptr<Door>& door = doors_[address];
    if (door && !door->closed && !options.replace) return fail(Code::kExists, "address in use");
    door = std::make_shared<Door>();
    door->network = this;
    return std::make_unique<MemoryListener>(address, door);
}

Task<Result<std::unique_ptr<Connection>>> MemoryNetwork::connect(Address) {
    co_return fail(Code::kUnsupported, "clients dial");
}

Result<std::unique_ptr<DatagramSocket>> MemoryNetwork::bind_datagram(const Address&) {
    return fail(Code::kUnsupported, "no datagrams here");
}

std::shared_ptr<Wire> MemoryNetwork::dial(const Address& address) {
    auto const it = doors_.find(address);
    if (it == doors_.end() || it->second->closed) return nullptr;
    auto wire = std::make_shared<Wire>();
    it->second->waiting.push_back(wire);
    it->second->changed.notify_all();
    return wire;
}

bool MemoryLog::has(std::string_view part) const {
    return std::any_of(lines.begin(), lines.end(), [part](const std::string& line) { return line.contains(part); });
}

Task<Result<std::unique_ptr<File>>> NoDisk::open(std::string, OpenOptions) {
    co_return fail(Code::kUnsupported);
}
Task<Result<void>> NoDisk::remove(std::string) {
    co_return fail(Code::kUnsupported);
}
Task<Result<bool>> NoDisk::exists(std::string) {
    co_return fail(Code::kUnsupported);
}
Task<void> NoSpawn::offload(std::move_only_function<void()> work) {
    work();
    co_return;
}

void World::pass(Duration time) {
    settle();
    for (Duration left = time; left.ns > 0;) {
        Duration const step = std::min(left, 100_ms);
        clock.advance(step);
        settle();
        left = left - step;
    }
}

void Client::send(Bytes bytes) {
    Pipe& pipe = wire_->to_server;
    pipe.bytes.insert(pipe.bytes.end(), bytes.begin(), bytes.end());
    pipe.changed.notify_all();
}

std::vector<u8> Client::receive(usize count) {
    Pipe& pipe = wire_->to_client;
    std::vector<u8> out;
    while (true) {
        world_.settle();
        usize const part = std::min(count - out.size(), pipe.bytes.size());
        if (part == 0) return out;
        out.insert(out.end(), pipe.bytes.begin(), pipe.bytes.begin() + static_cast<std::ptrdiff_t>(part));
        pipe.bytes.erase(pipe.bytes.begin(), pipe.bytes.begin() + static_cast<std::ptrdiff_t>(part));
        pipe.changed.notify_all();
    }
}

usize Client::available() {
    world_.settle();
    return wire_->to_client.bytes.size();
}

void Client::set_room(usize bytes) {
    wire_->to_client.room = bytes;
    wire_->to_client.changed.notify_all();
}

void Client::hang_up() {
    wire_->to_server.ended = true;
    wire_->to_server.changed.notify_all();
}

void Client::vanish() {
    wire_->reset = true;
    wire_->to_server.changed.notify_all();
    wire_->to_client.changed.notify_all();
}

bool Client::is_closed() {
    world_.settle();
    return wire_->server_closed;
}

}  // namespace corelet::nbd
