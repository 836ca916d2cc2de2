// Byte streams over TCP and unix sockets: each call tries the system call at once and waits only when the kernel
// would.
#pragma once

#include "os/loop.h"
#include "rt/network.h"

namespace corelet::os {

// Of a connected, non-blocking socket.
[[nodiscard]] std::unique_ptr<Connection> make_connection(std::shared_ptr<Watch> watch, Address remote);
// No delay for small messages, keep-alive, and the congestion control that costs least here. Connections that a
// listening socket accepts inherit it.
void tune_tcp(int socket);

}  // namespace corelet::os
