// Address to and from the kernel's sockaddr.
#pragma once

#include <sys/socket.h>

#include "os/loop.h"
#include "rt/network.h"

namespace corelet::os {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t size = 0;
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] int family() const { return storage.ss_family; }
    // Of an unnamed unix socket: an empty path. An IPv4 address is shown as such, also as seen by an IPv6 socket;
    // one of the link alone with its interface, as in "fe80::1%eth0".
    [[nodiscard]] Address to_address() const;
};

inline constexpr usize k_unix_path_max = k_unix_path_bytes_max;

// kInvalid if the path is empty or too long.
[[nodiscard]] Result<SocketAddress> unix_address(const std::string& path);
// An IPv4 or IPv6 address in digits, also with an interface of this machine ("fe80::1%eth0"), "localhost"
// (127.0.0.1), or "" and "*" (any IPv4); nothing for a name.
[[nodiscard]] std::optional<SocketAddress> numeric_address(const std::string& host, u16 port);
// The same address for a socket of `family`, AF_INET or AF_INET6, if it can reach it.
[[nodiscard]] std::optional<SocketAddress> for_family(const SocketAddress& address, int family);
// Asks the system's resolver, which may block for long. kNotFound, kUnavailable.
[[nodiscard]] Result<std::vector<SocketAddress>> resolve_blocking(const std::string& host, u16 port);
// Digits at once, names on a worker thread.
[[nodiscard]] Task<Result<std::vector<SocketAddress>>> resolve(Loop* loop, Address address);

}  // namespace corelet::os
