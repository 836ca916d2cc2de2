#include "os/connector.h"

#include <sys/socket.h>

#include <cerrno>

#include "os/connection.h"
#include "os/errors.h"
#include "os/socket_address.h"

namespace corelet::os {

namespace {

// A unix listener whose queue is full says so at once instead of letting one wait.
constexpr Duration k_queue_full_retry = 5_ms;
constexpr Duration k_queue_full_patience = 10_s;

Error refused(int error, const Address& address) {
    Error out = error_from(error, "connecting to " + address.to_string());
    // No socket at the path is the unix way of nobody listening.
    if (error == ENOENT) out.code = Code::kReset;
    return out;
}

int pending_error(int socket) {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

// Closes a socket that comes to nothing, also when the task is dropped.
struct ConnectingSocket {
    std::shared_ptr<Watch> watch;
    ~ConnectingSocket() {
        if (watch) watch->close();
    }
};

Task<Result<void>> wait_connected(std::shared_ptr<Watch> watch, Address address) {
    for (;;) {
        co_await watch->ready(Direction::kWrite);
        int const error = pending_error(watch->fd());
        if (error != 0) co_return std::unexpected(refused(error, address));
        sockaddr_storage peer{};
        socklen_t size = sizeof peer;
        if (::getpeername(watch->fd(), reinterpret_cast<sockaddr*>(&peer), &size) == 0) co_return Result<void>{};
        if (errno != ENOTCONN) co_return std::unexpected(refused(errno, address));
    }
}

// 0, EINPROGRESS, or the reason why not.
Task<int> begin_connect(Loop* loop, int fd, SocketAddress to) {
    Instant const give_up = loop->clock().now() + k_queue_full_patience;
    for (;;) {
        if (::connect(fd, to.get(), to.size) == 0) co_return 0;
        if (errno == EINTR) continue;
        bool const queue_is_full = errno == EAGAIN && to.family() == AF_UNIX;
        if (!queue_is_full) co_return errno;
        if (loop->clock().now() >= give_up) co_return ETIMEDOUT;
        co_await loop->clock().sleep(k_queue_full_retry);
    }
}

Task<Result<std::unique_ptr<Connection>>> connect_one(Loop* loop, Address address, SocketAddress to) {
    Descriptor socket(::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket.valid()) co_return fail_errno(errno, "making a socket for " + address.to_string());
    if (address.kind == Address::Kind::kTcp) tune_tcp(socket.get());
    int const begun = co_await begin_connect(loop, socket.get(), to);
    if (begun != 0 && begun != EINPROGRESS) co_return std::unexpected(refused(begun, address));
    // Not before: an engine would report a socket that is not even connecting as hung up.
    CO_TRY(auto watch, loop->reactor().watch(std::move(socket)));
    ConnectingSocket connecting{watch};
    if (begun == EINPROGRESS) CO_TRY_VOID(co_await wait_connected(watch, address));
    connecting.watch.reset();
    co_return make_connection(std::move(watch), std::move(address));
}

}  // namespace

Task<Result<std::unique_ptr<Connection>>> connect_stream(Loop* loop, Address address) {
    CO_TRY(auto const candidates, co_await resolve(loop, address));
    Result<std::unique_ptr<Connection>> last = fail(Code::kUnavailable, "'" + address.host + "' has no address");
    for (const SocketAddress& candidate : candidates) {
        last = co_await connect_one(loop, address, candidate);
        if (last) break;
    }
    co_return last;
}

}  // namespace corelet::os
