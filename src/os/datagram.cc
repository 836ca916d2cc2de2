#include "os/datagram.h"

#include <sys/socket.h>

#include <cerrno>

#include "os/errors.h"
#include "os/listener.h"
#include "os/name_cache.h"
#include "os/socket_address.h"
#include "os/socket_path.h"

namespace corelet::os {

namespace {

constexpr usize k_datagram_max = 64 * k_kib;
// For bursts: a probe of everybody is answered by everybody.
constexpr int k_socket_buffer_bytes = 1 << 20;

// Reads into `scratch` first, so that a small datagram does not keep 64 KiB.
Task<Result<Datagram>> receive_next(std::shared_ptr<Watch> watch, Buffer scratch) {
    for (;;) {
        if (watch->is_closed()) co_return fail(Code::kClosed, "the socket was closed");
        SocketAddress from;
        from.size = sizeof from.storage;
        ssize_t const n =
            ::recvfrom(watch->fd(), scratch.mutable_data(), scratch.size(), 0, from.get(), &from.size);
        int const error = errno;
        if (n >= 0) {
            Datagram datagram{from.to_address(), Buffer::copy_of(scratch.bytes().first(static_cast<usize>(n)))};
            if (watch->should_yield()) co_await yield{};
            co_return datagram;
        }
        if (error == EAGAIN) {
            co_await watch->ready(Direction::kRead);
        } else if (error != EINTR && error != ECONNREFUSED && error != ECONNRESET) {
            // The two are echoes of what was sent earlier to somebody who is not there.
            co_return fail_errno(error, "receiving datagrams");
        }
    }
}

class KernelDatagramSocket final : public DatagramSocket {
  public:
    KernelDatagramSocket(Loop& loop, std::shared_ptr<Watch> watch, Address local, int family, SocketPath path)
        : watch_(std::move(watch)),
          local_(std::move(local)),
          family_(family),
          path_(std::move(path)),
          names_(loop) {}
    ~KernelDatagramSocket() override { watch_->close(); }

    void send(const Address& to, Buffer data) override {
        CORELET_ASSERT(data.size() <= k_datagram_max);
        auto const address = kernel_address(to);
        if (!address) return;
        // Whatever hinders it, a full queue or no route, is a loss, which datagrams may suffer anywhere.
        (void)::sendto(watch_->fd(), data.data(), data.size(), MSG_NOSIGNAL, address->get(), address->size);
    }
    Task<Result<Datagram>> receive() override { return receive_next(watch_, scratch_); }
    Address local_address() const override { return local_; }

  private:
    std::optional<SocketAddress> kernel_address(const Address& to) {
        bool const is_unix = family_ == AF_UNIX;
        if ((to.kind == Address::Kind::kUnix) != is_unix) return std::nullopt;
        if (!is_unix) return names_.find(to.host, to.port, family_);
        auto path = unix_address(to.host);
        if (!path) return std::nullopt;
        return *path;
    }
    std::shared_ptr<Watch> watch_;
    Address local_;
    int family_;
    SocketPath path_;
    NameCache names_;
    Buffer scratch_ = Buffer::allocate(k_datagram_max);
};

struct BoundSocket {
    Descriptor socket;
    Address local;
    int family = AF_UNIX;
    SocketPath path;
};

Result<BoundSocket> bind_unix(const Address& address) {
    BoundSocket out;
    out.socket = Descriptor(::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!out.socket.valid()) return fail_errno(errno, "making a socket");
    TRY(out.path, bind_socket_path(out.socket, SOCK_DGRAM, address.host, false));
    out.local = address;
    return out;
}

Result<int> family_of(const Descriptor& socket) {
    int family = 0;
    socklen_t size = sizeof family;
    if (::getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &family, &size) != 0)
        return fail_errno(errno, "asking for a socket's family");
    return family;
}

Result<BoundSocket> bind_udp(const Address& address) {
    BoundSocket out;
    TRY(out.socket, bind_internet(address, SOCK_DGRAM));
    TRY(out.local, bound_address(out.socket.get()));
    TRY(out.family, family_of(out.socket));
    return out;
}

}  // namespace

Result<std::unique_ptr<DatagramSocket>> adopt_datagram_socket(Loop& loop, Descriptor socket) {
    TRY(Address local, bound_address(socket.get()));
    TRY(int const family, family_of(socket));
    TRY(auto watch, loop.reactor().watch(std::move(socket)));
    return std::make_unique<KernelDatagramSocket>(loop, std::move(watch), std::move(local), family, SocketPath{});
}

Result<std::unique_ptr<DatagramSocket>> make_datagram_socket(Loop& loop, const Address& address) {
    TRY(auto bound, address.kind == Address::Kind::kUnix ? bind_unix(address) : bind_udp(address));
    ::setsockopt(bound.socket.get(), SOL_SOCKET, SO_RCVBUF, &k_socket_buffer_bytes, sizeof k_socket_buffer_bytes);
    ::setsockopt(bound.socket.get(), SOL_SOCKET, SO_SNDBUF, &k_socket_buffer_bytes, sizeof k_socket_buffer_bytes);
    TRY(auto watch, loop.reactor().watch(std::move(bound.socket)));
    return std::make_unique<KernelDatagramSocket>(loop, std::move(watch), std::move(bound.local), bound.family,
                                                  std::move(bound.path));
}

}  // namespace corelet::os
