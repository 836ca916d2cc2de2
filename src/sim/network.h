// The network as one process sees it.
#pragma once

#include "rt/network.h"
#include "rt/sync.h"
#include "sim/fabric.h"
#include "sim/stream.h"

namespace corelet::sim {

// What is bound for a listener. A unix socket's path that was not closed outlives its process, without one.
struct ListenerState {
    BindKey key;
    Address address;
    bool loopback = false;  // not reachable from other machines
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
