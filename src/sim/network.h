// The network as one process sees it.
#pragma once

#include "rt/network.h"
#include "rt/sync.h"
#include "sim/fabric.h"
#include "sim/stream.h"

namespace corelet::sim {

// What is bound for a listener; outlives it as a dead path when the process ends without closing a unix socket.
struct ListenerState {
    BindKey key;
    Address address;
    bool loopback = false;  // not reachable from other machines
    bool stale = false;
    std::shared_ptr<Process> process;
    std::deque<std::shared_ptr<Stream>> backlog;
    Notify acceptors;
};

struct SocketState {
    BindKey key;
    Address address;
    std::shared_ptr<Process> process;
    std::deque<Datagram> queue;
    Notify receivers;
};

class SimNetwork final : public Network {
  public:
    SimNetwork(Fabric& fabric, std::shared_ptr<Process> process) : fabric_(fabric), process_(std::move(process)) {}
    [[nodiscard]] Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    [[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connect(Address address) override;
    [[nodiscard]] Result<std::unique_ptr<DatagramSocket>> bind_datagram(const Address& address) override;

  private:
    Fabric& fabric_;
    std::shared_ptr<Process> process_;
};

}  // namespace corelet::sim
