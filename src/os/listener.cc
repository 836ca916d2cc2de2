#include "os/listener.h"

#include <sys/socket.h>

#include <cerrno>

#include "os/connection.h"
#include "os/errors.h"
#include "os/socket_address.h"
#include "os/socket_path.h"

namespace corelet::os {

namespace {

constexpr Duration k_backoff_min = 50_ms;
constexpr Duration k_backoff_max = 1_s;

// The process or the machine has run out of something; connections in the queue can wait until it comes back.
bool is_exhaustion(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == ENOSPC;
}
// Of a connection that died in the queue, or a passing trouble of the network: the next one may be well.
bool is_passing(int error) {
    switch (error) {
        case EINTR:
        case ECONNABORTED:
        case EPROTO:
        case EPERM:
        case ENETDOWN:
        case ENETUNREACH:
        case EHOSTDOWN:
        case EHOSTUNREACH:
        case ENONET:
            return true;
        default:
            return false;
    }
}

Task<Result<std::unique_ptr<Connection>>> accept_next(Loop* loop, Log* log, std::shared_ptr<Watch> watch,
                                                      Address local) {
    Duration backoff = k_backoff_min;
    for (;;) {
        if (watch->is_closed()) co_return fail(Code::kClosed, "the listener was closed");
        SocketAddress from;
        from.size = sizeof from.storage;
        Descriptor socket(::accept4(watch->fd(), from.get(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
        int const error = errno;
        if (socket.valid()) {
            if (watch->should_yield()) co_await yield{};
            // The client of a unix socket has no name of its own: it is known by the path it came to.
            Address remote = local.kind == Address::Kind::kUnix ? local : from.to_address();
            CO_TRY(auto accepted, loop->reactor().watch(std::move(socket)));
            co_return make_connection(std::move(accepted), std::move(remote));
        }
        if (error == EAGAIN) {
            co_await watch->ready(Direction::kRead);
        } else if (is_exhaustion(error)) {
            log_warning(*log, "net.accept_waits", [&] {
                return "no connection is accepted on " + local.to_string() + " for " +
                       std::to_string(backoff.ms()) + " ms: " + error_text(error);
            });
            co_await loop->clock().sleep(backoff);
            backoff = std::min(backoff * 2, k_backoff_max);
        } else if (!is_passing(error)) {
            co_return fail_errno(error, "accepting on " + local.to_string());
        }
    }
}

class SocketListener final : public Listener {
  public:
    SocketListener(Loop& loop, Log& log, std::shared_ptr<Watch> watch, Address local, SocketPath path)
        : loop_(loop), log_(log), watch_(std::move(watch)), local_(std::move(local)), path_(std::move(path)) {}
    ~SocketListener() override { SocketListener::close(); }
    Task<Result<std::unique_ptr<Connection>>> accept() override {
        return accept_next(&loop_, &log_, watch_, local_);
    }
    Address local_address() const override { return local_; }
    bool has_its_address() const override {
        return !watch_->is_closed() && (local_.kind != Address::Kind::kUnix || path_.is_own());
    }
    void close() override {
        path_.release();
        if (watch_->is_closed()) return;
        // The kernel may hold on to the socket a little longer than we do: it must refuse from now on.
        ::shutdown(watch_->fd(), SHUT_RDWR);
        watch_->close();
    }

  private:
    Loop& loop_;
    Log& log_;
    std::shared_ptr<Watch> watch_;
    Address local_;
    SocketPath path_;
};

Result<std::unique_ptr<Listener>> listen_unix(Loop& loop, Log& log, const Address& address, ListenOptions options) {
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "making a socket");
    TRY(auto path, bind_socket_path(socket, SOCK_STREAM, address.host, options.replace));
    TRY(auto watch, loop.reactor().watch(std::move(socket)));
    return std::make_unique<SocketListener>(loop, log, std::move(watch), address, std::move(path));
}

Result<std::unique_ptr<Listener>> listen_tcp(Loop& loop, Log& log, const Address& address) {
    TRY(auto socket, bind_internet(address, SOCK_STREAM));
    tune_tcp(socket.get());
    if (::listen(socket.get(), k_listen_backlog) != 0)
        return fail_errno(errno, "listening on " + address.to_string());
    TRY(auto local, bound_address(socket.get()));
    TRY(auto watch, loop.reactor().watch(std::move(socket)));
    return std::make_unique<SocketListener>(loop, log, std::move(watch), std::move(local), SocketPath());
}

Result<Descriptor> bind_one(const SocketAddress& address, int type, const Address& shown) {
    Descriptor socket(::socket(address.family(), type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return fail_errno(errno, "making a socket for " + shown.to_string());
    int const on = 1;
    // For a listener: connections of an earlier process in TIME_WAIT do not keep the port. A datagram port would be
    // shared.
    if (type == SOCK_STREAM) ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (::bind(socket.get(), address.get(), address.size) == 0) return socket;
    if (errno == EADDRINUSE) return fail(Code::kExists, "another process uses " + shown.to_string());
    if (errno == EADDRNOTAVAIL)
        return fail(Code::kInvalid, "this machine has no address " + shown.to_string() + " to listen on");
    return fail_errno(errno, "binding to " + shown.to_string());
}

}  // namespace

Result<Address> bound_address(int socket) {
    SocketAddress address;
    address.size = sizeof address.storage;
    if (::getsockname(socket, address.get(), &address.size) != 0)
        return fail_errno(errno, "asking for a socket's address");
    return address.to_address();
}

Result<Descriptor> bind_internet(const Address& address, int type) {
    if (auto const digits = numeric_address(address.host, address.port)) return bind_one(*digits, type, address);
    TRY(auto const candidates, resolve_blocking(address.host, address.port));
    Result<Descriptor> last = fail(Code::kInvalid, "'" + address.host + "' has no address");
    for (const SocketAddress& candidate : candidates) {
        last = bind_one(candidate, type, address);
        if (last) break;
    }
    return last;
}

Result<std::unique_ptr<Listener>> make_listener(Loop& loop, Log& log, const Address& address,
                                                ListenOptions options) {
    return address.kind == Address::Kind::kUnix ? listen_unix(loop, log, address, options)
                                                : listen_tcp(loop, log, address);
}

}  // namespace corelet::os
