// Datagrams: lost, doubled and reordered by the rates of the network's model, lost on cut links and when the
// receiver's queue is full.
#pragma once

#include "sim/network.h"

namespace corelet::sim {

[[nodiscard]] Result<std::unique_ptr<DatagramSocket>> bind_datagram(Fabric& fabric,
                                                                    std::shared_ptr<Process> process,
                                                                    const Address& address);

}  // namespace corelet::sim
