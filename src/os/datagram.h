// UDP and unix datagrams.
#pragma once

#include "os/descriptor.h"
#include "os/loop.h"
#include "rt/network.h"

namespace corelet::os {

// See Network::bind_datagram. A datagram to a host name is sent once the name is resolved; names are asked for
// again after a minute, and while one is unknown its datagrams are lost.
[[nodiscard]] Result<std::unique_ptr<DatagramSocket>> make_datagram_socket(Loop& loop, const Address& address);
// Of a UDP socket that is bound already.
[[nodiscard]] Result<std::unique_ptr<DatagramSocket>> adopt_datagram_socket(Loop& loop, Descriptor socket);

}  // namespace corelet::os
