// UDP multicast on the networks at hand, by IPv4 or IPv6. Nothing that is sent to a group leaves them: its TTL is
// 1, and of IPv6's groups those of the link alone are taken.
#pragma once

#include "os/loop.h"
#include "rt/network.h"

namespace corelet::os {

// A group and port, as in "239.1.2.3:7000" or "[ff12::1]:7000". kInvalid: no such address, or no port.
[[nodiscard]] Result<Address> parse_multicast_group(const std::string& text);

// Receives what is sent to a group, on each interface that is up (IPv4: loopback included). Several may on one
// machine.
class MulticastListener {
  public:
    virtual ~MulticastListener() = default;
    [[nodiscard]] virtual DatagramSocket& socket() = 0;
    // Also on interfaces that came up since. How many there are now.
    virtual usize join_interfaces() = 0;
};
// kExists: another program has the port for itself. kUnavailable: no interface here takes multicast of that family.
[[nodiscard]] Result<std::unique_ptr<MulticastListener>> listen_multicast(Loop& loop, const Address& group);

// Sends to a group by each interface that is up; receives what comes back to it alone.
class MulticastSender {
  public:
    virtual ~MulticastSender() = default;
    [[nodiscard]] virtual DatagramSocket& socket() = 0;
    virtual void send_to_group(Bytes data) = 0;
};
[[nodiscard]] Result<std::unique_ptr<MulticastSender>> make_multicast_sender(Loop& loop, const Address& group);

// Whether it is an address of this machine.
[[nodiscard]] bool is_own_host(const Address& address);

}  // namespace corelet::os
