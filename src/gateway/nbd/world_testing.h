// A corelet's surroundings in memory, for tests of the gateway: time that stands still until told, and connections
// whose client end the test holds in its hands, byte by byte.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "rt/env.h"
#include "rt/sync.h"

namespace corelet::nbd {

// One direction of a connection.
struct Pipe {
    std::deque<u8> bytes;
    usize room = SIZE_MAX;  // how many bytes may wait in it
    u64 writes = 0;         // calls of Connection::write
    bool ended = false;
    Notify changed;
};
struct Wire {
    Pipe to_server;
    Pipe to_client;
    bool reset = false;
    bool server_closed = false;
};

class ManualClock final : public Clock {
  public:
    [[nodiscard]] Instant now() const override { return now_; }
    [[nodiscard]] WallTime wall_now() const override { return {now_.ns}; }
    void advance(Duration by) {
        now_ = now_ + by;
        timers_.fire_due(now_);
    }

  protected:
    void insert_timer(Timer& timer) override { timers_.insert(timer); }
    void remove_timer(Timer& timer) override { timers_.remove(timer); }

  private:
    Instant now_{1'000'000'000};
    TimerHeap timers_;
};

class MemoryNetwork final : public Network {
  public:
    struct Door;
    Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    Task<Result<std::unique_ptr<Connection>>> connect(Address address) override;
    Result<std::unique_ptr<DatagramSocket>> bind_datagram(const Address& address) override;
    // A client's connection to whoever listens there; null if nobody does.
    std::shared_ptr<Wire> dial(const Address& address);
    // The next accept() fails with this.
    std::optional<Code> fail_accept;

  private:
    std::map<Address, std::shared_ptr<Door>> doors_;
};

class MemoryLog final : public Log {
  public:
    [[nodiscard]] bool enabled(LogLevel) const override { return true; }
    void write(LogLevel, std::string_view event, std::string_view text) override {
        lines.push_back(std::string(event) + " " + std::string(text));
    }
    [[nodiscard]] bool has(std::string_view part) const;
    std::vector<std::string> lines;
};

class NoDisk final : public Disk {
  public:
    Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
    Task<Result<void>> remove(std::string path) override;
    Task<Result<bool>> exists(std::string path) override;
};
class NoSpawn final : public Spawn {
  public:
    Task<void> offload(std::move_only_function<void()> work) override;
};

struct World {
    Executor executor;
    ManualClock clock;
    MemoryNetwork network;
    NoDisk disk;
    Prng random{1};
    NoSpawn spawn;
    MemoryLog log;
    Env env{executor, clock, network, disk, random, spawn, log};
    // Runs until nobody has anything to do; time stands still.
    void settle() { executor.run_ready(); }
    // Lets time pass in steps of at most 100 ms.
    void pass(Duration time);
};

// The client's end, driven by hand.
class Client {
  public:
    Client(World& world, std::shared_ptr<Wire> wire) : world_(world), wire_(std::move(wire)) {}
    void send(Bytes bytes);
    void send(const std::vector<u8>& bytes) { send(Bytes(bytes)); }
    // Exactly that many bytes, or fewer if the server has no more to say.
    [[nodiscard]] std::vector<u8> receive(usize count);
    [[nodiscard]] usize available();
    // How many bytes the server may send before it has to wait for receive(); SIZE_MAX at first.
    void set_room(usize bytes);
    void hang_up();  // in order
    void vanish();   // with a reset
    [[nodiscard]] bool is_closed();
    [[nodiscard]] u64 server_writes() const { return wire_->to_client.writes; }

  private:
    World& world_;
    std::shared_ptr<Wire> wire_;
};

}  // namespace corelet::nbd
