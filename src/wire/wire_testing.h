// A world of nodes in memory for tests of this folder: time that moves when told, pipes with a bounded capacity
// that can be stalled, corrupted and reset at a byte, and counters of writes.
#pragma once

#include <gtest/gtest.h>
#include <algorithm>

#include "rt/combine.h"
#include "rt/env.h"
#include "wire/rpc.h"

namespace corelet::testing {

class ManualClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return now_; }
    [[nodiscard]] WallTime wall_now() const override { return {}; }
    [[nodiscard]] bool has_timers() const { return !heap_.empty(); }
    [[nodiscard]] Instant earliest() const { return heap_.earliest(); }
    void advance_to(Instant when) {
        now_ = std::max(now_, when);
        heap_.fire_due(now_);
    }

  private:
    void insert_timer(Timer& timer) override { heap_.insert(timer); }
    void remove_timer(Timer& timer) override { heap_.remove(timer); }
    Instant now_{1'000'000'000};
    TimerHeap heap_;
};

// One direction of a connection.
struct Pipe {
    std::vector<u8> bytes;
    usize capacity = 256 << 10;
    u64 passed = 0;                 // bytes ever written
    std::optional<u64> reset_at;    // the connection is reset when so many bytes have been written
    std::optional<u64> corrupt_at;  // this byte is changed on its way
    bool stalled = false;           // the reader gets nothing
    bool discard = false;           // bytes vanish: half-open
    bool closed = false, reset = false;
    u64 writes = 0;
    Notify changed;
};

struct Wire {
    std::shared_ptr<Pipe> to_server = std::make_shared<Pipe>();
    std::shared_ptr<Pipe> to_client = std::make_shared<Pipe>();
    Address address;
    void reset() const {
        for (Pipe* pipe : {to_server.get(), to_client.get()}) {
            pipe->reset = true;
            pipe->changed.notify_all();
        }
    }
    [[nodiscard]] bool is_open() const {
        return !to_server->closed && !to_server->reset && !to_client->closed && !to_client->reset;
    }
};

class MemoryNetwork final : public Network {
  public:
    struct Port;
    [[nodiscard]] Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    [[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connect(Address address) override;
    [[nodiscard]] Result<std::unique_ptr<DatagramSocket>> bind_datagram(const Address&) override {
        return fail(Code::kUnsupported);
    }
    std::vector<Wire> wires;  // all connections ever made
    usize capacity = 256 << 10;
    u64 attempts = 0;
    std::optional<PeerCredentials> credentials;
    bool hang = false;  // connects neither succeed nor fail

  private:
    std::map<Address, std::shared_ptr<Port>> ports_;
};

class RecordingLog final : public Log {
  public:
    [[nodiscard]] bool enabled(LogLevel) const override { return true; }
    void write(LogLevel, std::string_view event, std::string_view text) override {
        lines.push_back(std::string(event) + " " + std::string(text));
    }
    [[nodiscard]] usize count(std::string_view part) const {
        usize found = 0;
        for (const std::string& line : lines) found += line.find(part) != std::string::npos ? 1 : 0;
        return found;
    }
    std::vector<std::string> lines;
};

class NoDisk final : public Disk {
  public:
    [[nodiscard]] Task<Result<std::unique_ptr<File>>> open(std::string, OpenOptions) override;
    [[nodiscard]] Task<Result<void>> remove(std::string) override;
    [[nodiscard]] Task<Result<bool>> exists(std::string) override;
};
class NoSpawn final : public Spawn {
  public:
    [[nodiscard]] Task<void> offload(std::move_only_function<void()> work) override;
};

class TestPolicy final : public HelloPolicy {
  public:
    explicit TestPolicy(u64 id) {
        hello.corelet = CoreletId(id);
        hello.role = id == 0 ? PeerRole::kClient : PeerRole::kCorelet;
        hello.mesh = MeshId(1);
    }
    [[nodiscard]] Hello local_hello() override { return hello; }
    [[nodiscard]] Result<void> judge(const Hello& remote, const PeerContext& context) override {
        seen.push_back(context);
        if (verdict) return std::unexpected(*verdict);
        if (remote.mesh != hello.mesh) return fail(Code::kDenied, "another mesh");
        return {};
    }
    Hello hello;
    std::optional<Error> verdict;
    std::vector<PeerContext> seen;
};

class RecordingEvents final : public PeerEvents {
  public:
    void peer_connected(const Hello& peer, const PeerContext&) override { add("up", peer.corelet); }
    void peer_disconnected(const Hello& peer, const PeerContext&, const Error& reason) override {
        add(std::string("down ") + code_name(reason.code), peer.corelet);
    }
    void peer_unreachable(CoreletId peer, const Error&) override { add("unreachable", peer); }
    void peer_map_epoch(CoreletId peer, MapEpoch theirs) override {
        add("epoch " + std::to_string(theirs.v), peer);
    }
    std::vector<std::string> lines;

  private:
    void add(const std::string& what, CoreletId peer) { lines.push_back(what + " " + std::to_string(peer.v)); }
};

struct World {
    explicit World(u64 seed = 1) : random{seed} {}
    Executor executor;
    ManualClock clock;
    MemoryNetwork network;
    NoDisk disk;
    Prng random;
    NoSpawn spawn;
    RecordingLog log;
    Env env{executor, clock, network, disk, random, spawn, log};

    // Until nothing is ready; time stands still.
    void settle() { executor.run_ready(); }
    // Lets `duration` pass, firing timers in order.
    void pass(Duration duration);
    // Makes the executor resume ready tasks in random order, as the simulator does.
    void shuffle_turns() {
        executor.set_picker([this](usize candidates) { return static_cast<usize>(random.below(candidates)); });
    }
};

// A node with its policy and events, id `n`, listening at unix:/nN.
struct TestNode {
    TestNode(World& world, u64 n, RpcOptions options = {}, LocalBus* bus = nullptr);
    void listen();
    // Knows where the other listens.
    void meet(const TestNode& other) { node->set_addresses(other.node->id(), {other.address}); }
    TestPolicy policy;
    RecordingEvents events;
    Address address;
    std::unique_ptr<RpcNode> node;
};

// A call and where its result goes.
struct Asked {
    std::optional<Result<Reply>> result;
    Instant ended;
    [[nodiscard]] bool is_done() const { return result.has_value(); }
    [[nodiscard]] bool is_ok() const { return result && result->has_value(); }
    [[nodiscard]] std::optional<Code> code() const {
        if (!result || *result) return std::nullopt;
        return result->error().code;
    }
};
[[nodiscard]] Task<void> ask(Task<Result<Reply>> call, std::shared_ptr<Asked> asked, Clock* clock);

[[nodiscard]] inline Buffer text(std::string_view s) {
    return Buffer::copy_of(as_bytes(s));
}
[[nodiscard]] inline std::string text_of(Bytes bytes) {
    return std::string(as_text(bytes));
}

}  // namespace corelet::testing
