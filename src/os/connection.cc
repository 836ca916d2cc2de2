#include "os/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <climits>

#include "os/errors.h"
#include "rt/sync.h"

namespace corelet::os {

namespace {

std::unexpected<Error> closed_here() {
    return fail(Code::kClosed, "the connection was closed here");
}

Task<Result<usize>> read_stream(std::shared_ptr<Watch> watch, Buffer target, usize offset, usize at_least) {
    CORELET_ASSERT(at_least >= 1 && offset <= target.size() && at_least <= target.size() - offset);
    usize got = 0;
    while (got < at_least) {
        if (watch->is_closed()) co_return closed_here();
        if (!watch->may_have_data()) {
            co_await watch->ready(Direction::kRead);
            watch->set_drained(false);
            continue;
        }
        usize const room = target.size() - offset - got;
        ssize_t const n = ::recv(watch->fd(), target.mutable_data() + offset + got, room, 0);
        if (n > 0) {
            got += static_cast<usize>(n);
            watch->set_drained(static_cast<usize>(n) < room);
        } else if (n == 0) {
            co_return fail(Code::kClosed, "the peer ended the stream");
        } else if (errno == EAGAIN) {
            co_await watch->ready(Direction::kRead);
            watch->set_drained(false);
        } else if (errno != EINTR) {
            co_return std::unexpected(stream_error(errno, "reading from a connection"));
        }
    }
    if (watch->should_yield()) co_await yield{};
    co_return got;
}

// How far a chain has been written.
struct Progress {
    usize part = 0;
    usize offset = 0;
    void advance(const BufferChain& data, usize bytes) {
        while (bytes > 0) {
            usize const left = data.parts()[part].size() - offset;
            if (bytes < left) {
                offset += bytes;
                return;
            }
            bytes -= left;
            offset = 0;
            ++part;
        }
    }
    [[nodiscard]] bool is_done(const BufferChain& data) const { return part == data.parts().size(); }
};

// One system call with as much of the rest as it takes. Bytes written or -errno.
ssize_t send_rest(int socket, const BufferChain& data, const Progress& progress) {
    std::array<iovec, IOV_MAX> vectors;  // deliberately not cleared: 16 KiB
    usize count = 0;
    usize offset = progress.offset;
    for (usize i = progress.part; i < data.parts().size() && count < vectors.size(); ++i) {
        const Buffer& part = data.parts()[i];
        vectors[count++] = {const_cast<u8*>(part.data()) + offset, part.size() - offset};
        offset = 0;
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    ssize_t const n = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

Task<Result<void>> write_stream(std::shared_ptr<Watch> watch, BufferChain data) {
    Progress progress;
    while (!progress.is_done(data)) {
        if (watch->is_closed()) co_return closed_here();
        ssize_t const n = send_rest(watch->fd(), data, progress);
        if (n >= 0) {
            progress.advance(data, static_cast<usize>(n));
        } else if (n == -EAGAIN) {
            co_await watch->ready(Direction::kWrite);
        } else if (n != -EINTR) {
            co_return std::unexpected(stream_error(static_cast<int>(-n), "writing to a connection"));
        }
    }
    if (watch->should_yield()) co_await yield{};
    co_return Result<void>{};
}

std::optional<PeerCredentials> credentials_of(int socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
    return PeerCredentials{credentials.uid, credentials.gid, credentials.pid};
}

class SocketConnection final : public Connection {
  public:
    SocketConnection(std::shared_ptr<Watch> watch, Address remote)
        : watch_(std::move(watch)), remote_(std::move(remote)) {
        if (is_unix()) credentials_ = credentials_of(watch_->fd());
    }
    ~SocketConnection() override {
        if (watch_->is_closed()) return;
        // What was not sent is thrown away and the peer told so; a unix socket knows no reset and just ends.
        linger const abort{1, 0};
        if (!is_unix()) ::setsockopt(watch_->fd(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
        watch_->close();
    }
    Task<Result<usize>> read(Buffer target, usize offset, usize at_least) override {
        return read_stream(watch_, std::move(target), offset, at_least);
    }
    Task<Result<void>> write(BufferChain data) override { return write_stream(watch_, std::move(data)); }
    void close() override {
        if (watch_->is_closed()) return;
        // At once, although the descriptor stays until the kernel has let go of its polls.
        ::shutdown(watch_->fd(), SHUT_RDWR);
        watch_->close();
    }
    std::optional<PeerCredentials> peer_credentials() const override { return credentials_; }
    Address remote_address() const override { return remote_; }

  private:
    [[nodiscard]] bool is_unix() const { return remote_.kind == Address::Kind::kUnix; }
    std::shared_ptr<Watch> watch_;
    Address remote_;
    std::optional<PeerCredentials> credentials_;
};

}  // namespace

std::unique_ptr<Connection> make_connection(std::shared_ptr<Watch> watch, Address remote) {
    return std::make_unique<SocketConnection>(std::move(watch), std::move(remote));
}

void tune_tcp(int socket) {
    int const on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    // A peer that vanished without a word is noticed within a minute also where no protocol above asks.
    int const idle_s = 30;
    int const interval_s = 10;
    int const probes = 3;
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    ::setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    // Half of bbr's processor time a byte; where it is not allowed, the host's default stays.
    static constexpr std::string_view k_congestion = "cubic";
    ::setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, k_congestion.data(), k_congestion.size());
}

}  // namespace corelet::os
