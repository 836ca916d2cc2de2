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
constexpr u8 k_link_local = 2;  // scope of an IPv6 group, in the low half of its second byte

template <class Each>
void each_interface_address(Each each) {
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return;
    for (const ifaddrs* at = all; at; at = at->ifa_next)
        if (at->ifa_addr && (at->ifa_addr->sa_family == AF_INET || at->ifa_addr->sa_family == AF_INET6)) each(*at);
    ::freeifaddrs(all);
}

// By index, each once. Loopback takes IPv4 multicast although it does not say so, and has no route for IPv6's.
std::vector<int> multicast_interfaces(int family) {
    unsigned const wanted = family == AF_INET ? IFF_MULTICAST | IFF_LOOPBACK : IFF_MULTICAST;
    std::vector<int> out;
    each_interface_address([&](const ifaddrs& at) {
        bool const up = (at.ifa_flags & IFF_UP) != 0 && at.ifa_addr->sa_family == family;
        bool const able = (at.ifa_flags & wanted) != 0;
        int const index = up && able ? static_cast<int>(::if_nametoindex(at.ifa_name)) : 0;
        if (index != 0 && out.size() < k_interfaces_max && std::ranges::find(out, index) == out.end())
            out.push_back(index);
    });
    return out;
}

bool is_group(const SocketAddress& address) {
    if (address.family() == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &address.storage, sizeof v4);
        return IN_MULTICAST(ntohl(v4.sin_addr.s_addr));
    }
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address.storage, sizeof v6);
    return IN6_IS_ADDR_MULTICAST(&v6.sin6_addr) && (v6.sin6_addr.s6_addr[1] & 0x0F) == k_link_local;
}

Result<SocketAddress> address_of_group(const Address& group) {
    auto const address = group.kind == Address::Kind::kTcp ? numeric_address(group.host, group.port) : std::nullopt;
    if (!address || !is_group(*address) || group.port == 0 || group.host.contains('%'))
        return fail(Code::kInvalid,
                    "'" + group.to_string() +
                        "' is no multicast group; write an address of 224.0.0.0/4, or an IPv6 one of "
                        "the link alone (ff02:: or ff12::), and a port, for example "
                        "239.255.67.76:7767 or [ff12::434c]:7767");
    return *address;
}

Result<Descriptor> udp_socket(int family) {
    Descriptor socket(::socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "making a socket");
    int const yes = 1;
    if (family == AF_INET6) ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
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
    KernelMulticastListener(SharedSocket shared, const SocketAddress& group)
        : shared_(std::move(shared)), group_(group) {}
    DatagramSocket& socket() override { return *shared_.socket; }
    usize join_interfaces() override {
        usize joined = 0;
        int const level = group_.family() == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
        for (int const index : multicast_interfaces(group_.family())) {
            group_req request{};
            request.gr_interface = static_cast<u32>(index);
            request.gr_group = group_.storage;
            bool const done =
                ::setsockopt(shared_.control.get(), level, MCAST_JOIN_GROUP, &request, sizeof request) == 0;
            joined += done || errno == EADDRINUSE ? 1 : 0;
        }
        return joined;
    }

  private:
    SharedSocket shared_;
    SocketAddress group_;
};

class KernelMulticastSender final : public MulticastSender {
  public:
    KernelMulticastSender(SharedSocket shared, Address group, int family)
        : shared_(std::move(shared)), group_(std::move(group)), family_(family) {}
    DatagramSocket& socket() override { return *shared_.socket; }
    void send_to_group(Bytes data) override {
        for (int const index : multicast_interfaces(family_))
            if (leave_by(index)) shared_.socket->send(group_, Buffer::copy_of(data));
    }

  private:
    bool leave_by(int index) {
        int const socket = shared_.control.get();
        if (family_ == AF_INET6)
            return ::setsockopt(socket, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index) == 0;
        ip_mreqn by{};
        by.imr_ifindex = index;
        return ::setsockopt(socket, IPPROTO_IP, IP_MULTICAST_IF, &by, sizeof by) == 0;
    }
    SharedSocket shared_;
    Address group_;
    int family_;
};

// Only groups that this socket has joined, not those that others on this machine have.
void hear_joined_only(const Descriptor& socket, int family) {
    int const no = 0;
    if (family == AF_INET)
        ::setsockopt(socket.get(), IPPROTO_IP, IP_MULTICAST_ALL, &no, sizeof no);
    else
        ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_MULTICAST_ALL, &no, sizeof no);
}

}  // namespace

Result<Address> parse_multicast_group(const std::string& text) {
    TRY(Address group, Address::parse(text));
    TRY_VOID(address_of_group(group));
    return group;
}

Result<std::unique_ptr<MulticastListener>> listen_multicast(Loop& loop, const Address& group) {
    TRY(SocketAddress const address, address_of_group(group));
    TRY(Descriptor socket, udp_socket(address.family()));
    int const yes = 1;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    hear_joined_only(socket, address.family());
    // A socket at an IPv6 group of the link would be of one interface.
    TRY_VOID(bind_to(socket, address.family() == AF_INET ? group : Address::tcp("::", group.port)));
    TRY(SharedSocket shared, share_socket(loop, std::move(socket)));
    auto listener = std::make_unique<KernelMulticastListener>(std::move(shared), address);
    if (listener->join_interfaces() == 0)
        return fail(Code::kUnavailable, "no interface of this machine takes multicast");
    return std::unique_ptr<MulticastListener>(std::move(listener));
}

Result<std::unique_ptr<MulticastSender>> make_multicast_sender(Loop& loop, const Address& group) {
    TRY(SocketAddress const address, address_of_group(group));
    int const family = address.family();
    TRY(Descriptor socket, udp_socket(family));
    TRY_VOID(bind_to(socket, Address::tcp(family == AF_INET ? "0.0.0.0" : "::", 0)));
    TRY(SharedSocket shared, share_socket(loop, std::move(socket)));
    return std::make_unique<KernelMulticastSender>(std::move(shared), group, family);
}

bool is_own_host(const Address& address) {
    if (address.is_local()) return true;
    bool own = false;
    each_interface_address([&](const ifaddrs& at) {
        SocketAddress one;
        one.size = at.ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
        std::memcpy(&one.storage, at.ifa_addr, one.size);
        own = own || one.to_address().host == address.host;
    });
    return own;
}

}  // namespace corelet::os
