#include "os/multicast.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "os/datagram.h"
#include "os/errors.h"
#include "os/socket_address.h"

namespace corelet::os {

namespace {

constexpr usize k_interfaces_max = 32;

template <class Each>
void each_interface_address(Each each) {
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return;
    for (const ifaddrs* at = all; at; at = at->ifa_next)
        if (at->ifa_addr && at->ifa_addr->sa_family == AF_INET) each(*at);
    ::freeifaddrs(all);
}

// By index, each once. Loopback takes multicast although it does not say so.
std::vector<int> multicast_interfaces() {
    std::vector<int> out;
    each_interface_address([&](const ifaddrs& at) {
        bool const up = (at.ifa_flags & IFF_UP) != 0;
        bool const able = (at.ifa_flags & (IFF_MULTICAST | IFF_LOOPBACK)) != 0;
        int const index = up && able ? static_cast<int>(::if_nametoindex(at.ifa_name)) : 0;
        if (index != 0 && out.size() < k_interfaces_max && std::ranges::find(out, index) == out.end())
            out.push_back(index);
    });
    return out;
}

Result<in_addr> address_of_group(const Address& group) {
    auto const address = group.kind == Address::Kind::kTcp ? numeric_address(group.host, group.port) : std::nullopt;
    sockaddr_in v4{};
    if (address && address->family() == AF_INET) std::memcpy(&v4, &address->storage, sizeof v4);
    if (!IN_MULTICAST(ntohl(v4.sin_addr.s_addr)) || group.port == 0)
        return fail(Code::kInvalid, "'" + group.to_string() +
                                        "' is no multicast group; write an address of 224.0.0.0/4 and a port, for "
                                        "example 239.255.67.76:7767");
    return v4.sin_addr;
}

Result<Descriptor> udp_socket() {
    Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "making a socket");
    return socket;
}

Result<void> bind_to(const Descriptor& socket, const Address& address) {
    auto const where = numeric_address(address.host, address.port);
    CORELET_ASSERT(where, "digits");
    if (::bind(socket.get(), where->get(), where->size) == 0) return {};
    return fail_errno(errno, "listening on " + address.to_string());
}

// The socket and a second descriptor of it, for what only the kernel's own calls can change.
struct SharedSocket {
    std::unique_ptr<DatagramSocket> socket;
    Descriptor control;
};
Result<SharedSocket> share_socket(Loop& loop, Descriptor socket) {
    SharedSocket out;
    out.control = Descriptor(::dup(socket.get()));
    if (!out.control.valid()) return fail_errno(errno, "making a socket");
    TRY(out.socket, adopt_datagram_socket(loop, std::move(socket)));
    return out;
}

class KernelMulticastListener final : public MulticastListener {
  public:
    KernelMulticastListener(SharedSocket shared, in_addr group) : shared_(std::move(shared)), group_(group) {}
    DatagramSocket& socket() override { return *shared_.socket; }
    usize join_interfaces() override {
        usize joined = 0;
        for (int const index : multicast_interfaces()) {
            ip_mreqn request{};
            request.imr_multiaddr = group_;
            request.imr_ifindex = index;
            bool const done =
                ::setsockopt(shared_.control.get(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) == 0;
            joined += done || errno == EADDRINUSE ? 1 : 0;
        }
        return joined;
    }

  private:
    SharedSocket shared_;
    in_addr group_;
};

class KernelMulticastSender final : public MulticastSender {
  public:
    KernelMulticastSender(SharedSocket shared, Address group)
        : shared_(std::move(shared)), group_(std::move(group)) {}
    DatagramSocket& socket() override { return *shared_.socket; }
    void send_to_group(Bytes data) override {
        for (int const index : multicast_interfaces()) {
            ip_mreqn by{};
            by.imr_ifindex = index;
            if (::setsockopt(shared_.control.get(), IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by) == 0)
                shared_.socket->send(group_, Buffer::copy_of(data));
        }
    }

  private:
    SharedSocket shared_;
    Address group_;
};

}  // namespace

Result<Address> parse_multicast_group(const std::string& text) {
    TRY(Address group, Address::parse(text));
    TRY_VOID(address_of_group(group));
    return group;
}

Result<std::unique_ptr<MulticastListener>> listen_multicast(Loop& loop, const Address& group) {
    TRY(in_addr const address, address_of_group(group));
    TRY(Descriptor socket, udp_socket());
    int const yes = 1;
    int const no = 0;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    // Only groups that this socket has joined, not those that others on this machine have.
    ::setsockopt(socket.get(), IPPROTO_IP, IP_MULTICAST_ALL, &no, sizeof no);
    TRY_VOID(bind_to(socket, group));
    TRY(SharedSocket shared, share_socket(loop, std::move(socket)));
    auto listener = std::make_unique<KernelMulticastListener>(std::move(shared), address);
    if (listener->join_interfaces() == 0)
        return fail(Code::kUnavailable, "no interface of this machine takes multicast");
    return std::unique_ptr<MulticastListener>(std::move(listener));
}

Result<std::unique_ptr<MulticastSender>> make_multicast_sender(Loop& loop, const Address& group) {
    TRY_VOID(address_of_group(group));
    TRY(Descriptor socket, udp_socket());
    TRY_VOID(bind_to(socket, Address::tcp("0.0.0.0", 0)));
    TRY(SharedSocket shared, share_socket(loop, std::move(socket)));
    return std::make_unique<KernelMulticastSender>(std::move(shared), group);
}

bool is_own_host(const Address& address) {
    if (address.is_local()) return true;
    bool own = false;
    each_interface_address([&](const ifaddrs& at) {
        SocketAddress one;
        one.size = sizeof(sockaddr_in);
        std::memcpy(&one.storage, at.ifa_addr, one.size);
        own = own || one.to_address().host == address.host;
    });
    return own;
}

}  // namespace corelet::os
