// Byte streams and datagrams. A stream behaves like TCP or a unix socket: in order, no loss inside a live
// connection, but it may stall, be reset at any byte, or be half-open. TLS and HTTP sit on top, sans-I/O.
#pragma once

#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "rt/task.h"

namespace corelet {

// The longest path that fits a unix socket's address.
inline constexpr usize k_unix_path_bytes_max = 107;

// `unix:/path` or `tcp:host:port` (IPv6 hosts in brackets).
struct Address {
    enum class Kind : u8 { kUnix, kTcp };
    Kind kind = Kind::kUnix;
    std::string host;  // path of a unix socket
    u16 port = 0;

    [[nodiscard]] static Result<Address> parse(std::string_view text);
    [[nodiscard]] static Address unix_path(std::string path) { return {Kind::kUnix, std::move(path), 0}; }
    [[nodiscard]] static Address tcp(std::string host, u16 port) { return {Kind::kTcp, std::move(host), port}; }
    [[nodiscard]] std::string to_string() const;
    // Only processes of this machine can reach it.
    [[nodiscard]] bool is_local() const;
    friend auto operator<=>(const Address&, const Address&) = default;
};

// Who is at the other end of a unix socket, as the kernel says.
struct PeerCredentials {
    u32 uid = 0;
    u32 gid = 0;
    i32 pid = 0;
};

// One reader and one writer task at a time. Destroying it resets the connection.
class Connection {
  public:
    virtual ~Connection() = default;
    // Reads into target[offset, end) and returns how many bytes came, at least `at_least` >= 1. kClosed: the peer
    // ended the stream in order (before `at_least` bytes); kReset: otherwise.
    [[nodiscard]] virtual Task<Result<usize>> read(Buffer target, usize offset, usize at_least) = 0;
    // Writes the whole chain in as few system calls as possible; tries at once, waits only when the socket is full.
    [[nodiscard]] virtual Task<Result<void>> write(BufferChain data) = 0;
    // Ends both directions; pending reads and writes fail with kClosed.
    virtual void close() = 0;
    [[nodiscard]] virtual std::optional<PeerCredentials> peer_credentials() const = 0;
    [[nodiscard]] virtual Address remote_address() const = 0;
};

class Listener {
  public:
    virtual ~Listener() = default;
    [[nodiscard]] virtual Task<Result<std::unique_ptr<Connection>>> accept() = 0;
    // With the port that was given, when 0 was asked for.
    [[nodiscard]] virtual Address local_address() const = 0;
    // False once somebody else has taken the unix socket's path over, or removed it: nobody new comes in here.
    [[nodiscard]] virtual bool has_its_address() const = 0;
    // A unix socket's path is removed only if it still is this listener's own.
    virtual void close() = 0;
};

struct Datagram {
    Address from;
    Buffer data;
};

// At most 64 KiB each; may be lost, doubled, reordered.
class DatagramSocket {
  public:
    virtual ~DatagramSocket() = default;
    virtual void send(const Address& to, Buffer data) = 0;
    [[nodiscard]] virtual Task<Result<Datagram>> receive() = 0;
    [[nodiscard]] virtual Address local_address() const = 0;
};

struct ListenOptions {
    // A unix path that exists is taken over atomically (bind a temporary name, then rename). Otherwise kExists.
    bool replace = false;
};

class Network {
  public:
    virtual ~Network() = default;
    // Errors: kExists (address in use), kInvalid (path too long, bad host), kDenied, kIo.
    [[nodiscard]] virtual Result<std::unique_ptr<Listener>> listen(const Address& address,
                                                                   ListenOptions options) = 0;
    // kReset when refused, kTimeout after the deadline of the platform; wrap in with_deadline for a shorter one.
    [[nodiscard]] virtual Task<Result<std::unique_ptr<Connection>>> connect(Address address) = 0;
    [[nodiscard]] virtual Result<std::unique_ptr<DatagramSocket>> bind_datagram(const Address& address) = 0;
};

}  // namespace corelet
