// TCP, UDP and unix sockets.
#pragma once

#include "os/loop.h"
#include "rt/log.h"
#include "rt/network.h"

namespace corelet::os {

class SocketNetwork final : public Network {
  public:
    SocketNetwork(Loop& loop, Log& log) : loop_(loop), log_(log) {}
    // A host name, other than an address in digits, is resolved while the caller waits: for starting up. A unix
    // path whose process is dead counts as free.
    [[nodiscard]] Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options) override;
    [[nodiscard]] Task<Result<std::unique_ptr<Connection>>> connect(Address address) override;
    // UDP for a TCP address.
    [[nodiscard]] Result<std::unique_ptr<DatagramSocket>> bind_datagram(const Address& address) override;

  private:
    Loop& loop_;
    Log& log_;
};

}  // namespace corelet::os
