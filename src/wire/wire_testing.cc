#include "wire/wire_testing.h"

namespace corelet::testing {

namespace {

class MemoryConnection final : public Connection {
  public:
    MemoryConnection(std::shared_ptr<Pipe> in, std::shared_ptr<Pipe> out, Address remote,
                     std::optional<PeerCredentials> credentials)
        : in_(std::move(in)), out_(std::move(out)), remote_(std::move(remote)), credentials_(credentials) {}
    ~MemoryConnection() override { shut(); }

    Task<Result<usize>> read(Buffer target, usize offset, usize at_least) override {
        std::shared_ptr<Pipe> const in = in_;
        CORELET_ASSERT(at_least >= 1 && at_least <= target.size() - offset);
        usize got = 0;
        while (got < at_least) {
            if (closed_) co_return fail(Code::kClosed, "closed here");
            if (in->reset) co_return fail(Code::kReset, "reset by peer");
            if (!in->bytes.empty() && !in->stalled) {
                usize const take = std::min(in->bytes.size(), target.size() - offset - got);
                std::memcpy(target.mutable_data() + offset + got, in->bytes.data(), take);
                in->bytes.erase(in->bytes.begin(), in->bytes.begin() + static_cast<std::ptrdiff_t>(take));
                got += take;
                in->changed.notify_all();
                continue;
            }
            if (in->closed && in->bytes.empty()) co_return fail(Code::kClosed, "closed by peer");
            co_await in->changed.wait();
        }
        co_return got;
    }

    Task<Result<void>> write(BufferChain data) override {
        std::shared_ptr<Pipe> const out = out_;
        ++out->writes;
        for (const Buffer& part : data.parts()) {
            for (usize done = 0; done < part.size();) {
                if (closed_) co_return fail(Code::kClosed, "closed here");
                if (out->reset || out->closed) co_return fail(Code::kReset, "reset by peer");
                if (out->bytes.size() >= out->capacity) {
                    co_await out->changed.wait();
                    continue;
                }
                usize const step = std::min(part.size() - done, out->capacity - out->bytes.size());
                put(*out, part.bytes().subspan(done, step));
                done += step;
            }
        }
        co_return {};
    }

    void close() override {
        closed_ = true;
        shut();
    }
    [[nodiscard]] std::optional<PeerCredentials> peer_credentials() const override { return credentials_; }
    [[nodiscard]] Address remote_address() const override { return remote_; }

  private:
    void put(Pipe& out, Bytes bytes) {
        for (u8 byte : bytes) {
            if (out.reset_at && out.passed >= *out.reset_at) {
                out.reset = in_->reset = true;
                in_->changed.notify_all();
                break;
            }
            if (out.corrupt_at && out.passed == *out.corrupt_at) byte ^= 0x10;
            ++out.passed;
            if (!out.discard) out.bytes.push_back(byte);
        }
        out.changed.notify_all();
    }
    void shut() {
        in_->closed = out_->closed = true;
        in_->changed.notify_all();
        out_->changed.notify_all();
    }
    std::shared_ptr<Pipe> in_, out_;
    Address remote_;
    std::optional<PeerCredentials> credentials_;
    bool closed_ = false;
};

}  // namespace

struct MemoryNetwork::Port {
    Channel<std::unique_ptr<Connection>> incoming{128};
};

namespace {
class MemoryListener final : public Listener {
  public:
    MemoryListener(std::shared_ptr<MemoryNetwork::Port> port, Address address)
        : port_(std::move(port)), address_(std::move(address)) {}
    ~MemoryListener() override { MemoryListener::close(); }
    Task<Result<std::unique_ptr<Connection>>> accept() override {
        auto connection = co_await port_->incoming.recv();
        if (!connection) co_return fail(Code::kClosed);
        co_return *std::move(connection);
    }
    [[nodiscard]] Address local_address() const override { return address_; }
    [[nodiscard]] bool has_its_address() const override { return !port_->incoming.is_closed(); }
    void close() override { port_->incoming.close(); }

  private:
    std::shared_ptr<MemoryNetwork::Port> port_;
    Address address_;
};
}  // namespace

Result<std::unique_ptr<Listener>> MemoryNetwork::listen(const Address& address, ListenOptions) {
    auto& port = ports_[address];
    if (port && !port->incoming.is_closed()) return fail(Code::kExists, "in use");
    port = std::make_shared<Port>();
    return std::make_unique<MemoryListener>(port, address);
}

Task<Result<std::unique_ptr<Connection>>> MemoryNetwork::connect(Address address) {
    ++attempts;
    Notify never;
    while (hang) co_await never.wait();
    auto const port = ports_.find(address);
    if (port == ports_.end() || port->second->incoming.is_closed())
        co_return fail(Code::kReset, "connection refused");
    Wire wire;
    wire.address = address;
    wire.to_server->capacity = wire.to_client->capacity = capacity;
    wires.push_back(wire);
    auto server = std::make_unique<MemoryConnection>(wire.to_server, wire.to_client, address, credentials);
    bool const taken = port->second->incoming.try_send(std::move(server));
    if (!taken) co_return fail(Code::kReset, "backlog is full");
    co_return std::make_unique<MemoryConnection>(wire.to_client, wire.to_server, address, credentials);
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

void World::pass(Duration duration) {
    Instant const end = clock.now() + duration;
    settle();
    while (clock.has_timers() && clock.earliest() <= end) {
        clock.advance_to(clock.earliest());
        settle();
    }
    clock.advance_to(end);
    settle();
}

TestNode::TestNode(World& world, u64 n, RpcOptions options, LocalBus* bus)
    : policy(n), address(Address::unix_path("/n" + std::to_string(n))) {
    if (!options.own_uid) options.insecure = true;
    node = std::make_unique<RpcNode>(world.env, policy, options, &events, bus);
}

void TestNode::listen() {
    auto const bound = node->listen(address);
    ASSERT_TRUE(bound.has_value()) << bound.error().to_string();
}

Task<void> ask(Task<Result<Reply>> call, std::shared_ptr<Asked> asked, Clock* clock) {
    asked->result.emplace(co_await std::move(call));
    asked->ended = clock->now();
}

}  // namespace corelet::testing
