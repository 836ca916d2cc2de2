#include "os/socket_address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <charconv>
#include <cstddef>

#include "os/errors.h"
#include "os/spawn.h"

namespace corelet::os {

namespace {

template <class T>
SocketAddress wrap(const T& address, usize size = sizeof(T)) {
    SocketAddress out;
    std::memcpy(&out.storage, &address, size);
    out.size = static_cast<socklen_t>(size);
    return out;
}

// An IPv4 address within IPv6: ten zero bytes, two of ones, then the address.
constexpr usize k_mapped_prefix = 12;

// Of an IPv6 address of the link, by which interface: '%' and its name. Empty: any.
std::string zone_text(u32 interface_index) {
    if (interface_index == 0) return {};
    std::array<char, IF_NAMESIZE> name{};
    bool const named = ::if_indextoname(interface_index, name.data()) != nullptr;
    return "%" + (named ? std::string(name.data()) : std::to_string(interface_index));
}

// Nothing: there is no such interface.
std::optional<u32> zone_index(const std::string& zone) {
    if (u32 const index = ::if_nametoindex(zone.c_str()); index != 0) return index;
    u32 index = 0;
    auto const [end, error] = std::from_chars(zone.data(), zone.data() + zone.size(), index);
    if (error != std::errc() || end != zone.data() + zone.size() || index == 0) return std::nullopt;
    return index;
}

std::string path_of(const SocketAddress& address) {
    sockaddr_un name{};
    std::memcpy(&name, &address.storage, std::min<usize>(address.size, sizeof name));
    usize const room =
        address.size > offsetof(sockaddr_un, sun_path) ? address.size - offsetof(sockaddr_un, sun_path) : 0;
    return {name.sun_path, ::strnlen(name.sun_path, std::min<usize>(room, sizeof name.sun_path))};
}

}  // namespace

Address SocketAddress::to_address() const {
    std::array<char, INET6_ADDRSTRLEN> text{};
    if (family() == AF_INET) {
        sockaddr_in v4{};
        std::memcpy(&v4, &storage, sizeof v4);
        ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
        return Address::tcp(text.data(), ntohs(v4.sin_port));
    }
    if (family() == AF_INET6) {
        sockaddr_in6 v6{};
        std::memcpy(&v6, &storage, sizeof v6);
        if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
            ::inet_ntop(AF_INET, v6.sin6_addr.s6_addr + k_mapped_prefix, text.data(), text.size());
            return Address::tcp(text.data(), ntohs(v6.sin6_port));
        }
        ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
        return Address::tcp(text.data() + zone_text(v6.sin6_scope_id), ntohs(v6.sin6_port));
    }
    return Address::unix_path(path_of(*this));
}

Result<SocketAddress> unix_address(const std::string& path) {
    if (path.empty()) return fail(Code::kInvalid, "a unix socket needs a path");
    if (path.size() > k_unix_path_max)
        return fail(Code::kInvalid, "the socket path '" + path + "' has " + std::to_string(path.size()) +
                                        " bytes, the kernel takes at most " + std::to_string(k_unix_path_max) +
                                        "; choose a shorter directory");
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::memcpy(name.sun_path, path.data(), path.size());
    return wrap(name, offsetof(sockaddr_un, sun_path) + path.size() + 1);
}

std::optional<SocketAddress> numeric_address(const std::string& host, u16 port) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    const char* const digits = host.empty() || host == "*" ? "0.0.0.0"
                               : host == "localhost"       ? "127.0.0.1"
                                                           : host.c_str();
    if (::inet_pton(AF_INET, digits, &v4.sin_addr) == 1) return wrap(v4);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    usize const mark = host.find('%');
    std::string const without_zone = host.substr(0, mark);
    if (::inet_pton(AF_INET6, without_zone.c_str(), &v6.sin6_addr) != 1) return std::nullopt;
    if (mark == std::string::npos) return wrap(v6);
    auto const zone = zone_index(host.substr(mark + 1));
    if (!zone) return std::nullopt;
    v6.sin6_scope_id = *zone;
    return wrap(v6);
}

std::optional<SocketAddress> for_family(const SocketAddress& address, int family) {
    if (address.family() == family) return address;
    if (family != AF_INET6 || address.family() != AF_INET) return std::nullopt;
    sockaddr_in v4{};
    std::memcpy(&v4, &address.storage, sizeof v4);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = v4.sin_port;
    v6.sin6_addr.s6_addr[10] = v6.sin6_addr.s6_addr[11] = 0xFF;
    std::memcpy(v6.sin6_addr.s6_addr + k_mapped_prefix, &v4.sin_addr, sizeof v4.sin_addr);
    return wrap(v6);
}

Result<std::vector<SocketAddress>> resolve_blocking(const std::string& host, u16 port) {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;  // each address once
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* found = nullptr;
    int const failed = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
    if (failed != 0) {
        Code const code = failed == EAI_NONAME ? Code::kInvalid : Code::kUnavailable;
        return fail(code, "cannot resolve the host name '" + host + "': " + ::gai_strerror(failed));
    }
    std::vector<SocketAddress> out;
    for (const addrinfo* each = found; each; each = each->ai_next) {
        SocketAddress& address = out.emplace_back();
        std::memcpy(&address.storage, each->ai_addr, each->ai_addrlen);
        address.size = each->ai_addrlen;
    }
    ::freeaddrinfo(found);
    return out;
}

Task<Result<std::vector<SocketAddress>>> resolve(Loop* loop, Address address) {
    if (address.kind == Address::Kind::kUnix) {
        CO_TRY(auto path, unix_address(address.host));
        co_return std::vector<SocketAddress>{path};
    }
    if (auto digits = numeric_address(address.host, address.port)) co_return std::vector<SocketAddress>{*digits};
    auto result = std::make_shared<Result<std::vector<SocketAddress>>>();
    co_await run_on_worker(loop, [result, address] { *result = resolve_blocking(address.host, address.port); });
    co_return *std::move(result);
}

}  // namespace corelet::os
