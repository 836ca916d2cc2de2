#include "os/network.h"

#include "os/connector.h"
#include "os/datagram.h"
#include "os/listener.h"

namespace corelet::os {

Result<std::unique_ptr<Listener>> SocketNetwork::listen(const Address& address, ListenOptions options) {
    return make_listener(loop_, log_, address, options);
}

Task<Result<std::unique_ptr<Connection>>> SocketNetwork::connect(Address address) {
    return connect_stream(&loop_, std::move(address));
}

Result<std::unique_ptr<DatagramSocket>> SocketNetwork::bind_datagram(const Address& address) {
    return make_datagram_socket(loop_, address);
}

}  // namespace corelet::os
