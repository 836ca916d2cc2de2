// Listening sockets.
#pragma once

#include "os/loop.h"
#include "rt/log.h"
#include "rt/network.h"

namespace corelet::os {

// See Network::listen.
[[nodiscard]] Result<std::unique_ptr<Listener>> make_listener(Loop& loop, Log& log, const Address& address,
                                                              ListenOptions options);
// The address that a socket is bound to.
[[nodiscard]] Result<Address> bound_address(int socket);
// Binds to the first address of a host that works.
[[nodiscard]] Result<Descriptor> bind_internet(const Address& address, int type);

}  // namespace corelet::os
