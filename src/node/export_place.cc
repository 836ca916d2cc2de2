#include "node/export_place.h"

#include <algorithm>

namespace corelet {

namespace {

constexpr std::string_view k_unix_scheme = "nbd+unix:///";
constexpr std::string_view k_tcp_scheme = "nbd://";
constexpr std::string_view k_socket_query = "?socket=";

bool is_any_host(const std::string& host) {
    return host.empty() || host == "*" || host == "0.0.0.0" || host == "::";
}

void add(std::vector<Address>& to, Address address) {
    if (std::find(to.begin(), to.end(), address) == to.end()) to.push_back(std::move(address));
}

// What stands for itself in a URI's path and query; the rest is written %XX.
std::string escaped(std::string_view text) {
    static constexpr char k_digits[] = "0123456789ABCDEF";
    std::string out;
    for (char const c : text) {
        bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("-._~/:@,").find(c) != std::string_view::npos;
        if (plain) {
            out += c;
        } else {
            auto const byte = static_cast<u8>(c);
            out += {'%', k_digits[byte >> 4], k_digits[byte & 15]};
        }
    }
    return out;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (usize i = 0; i < text.size(); ++i) {
        bool const coded =
            text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 && hex_digit(text[i + 2]) >= 0;
        out += coded ? static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2])) : text[i];
        if (coded) i += 2;
    }
    return out;
}

void add_tcp(std::vector<Address>& out, const Address& wanted, const std::optional<Address>& last,
             const ExportWish& wish, const ExportHost& host) {
    bool const was_here =
        last && last->kind == Address::Kind::kTcp && (last->host == wanted.host || is_any_host(wanted.host));
    if (was_here && wanted.port == 0) add(out, Address::tcp(wanted.host, last->port));
    add(out, wanted);
    if (wish.strict && wish.last_uri.empty()) return;
    add(out, Address::tcp(wanted.host, 0));
    // An address of the host where the volume was before is none of this one.
    if (host.host.empty() || wanted.is_local()) return;
    add(out, Address::tcp(host.host, wanted.port));
    add(out, Address::tcp(host.host, 0));
}

}  // namespace

Result<std::vector<Address>> export_candidates(const ExportWish& wish, const ExportHost& host) {
    std::vector<Address> out;
    Address const usual = Address::unix_path(host.directory + "/" + wish.volume + ".nbd");
    std::optional<Address> const last = address_in_uri(wish.last_uri);
    if (wish.listen.empty()) {
        if (last && last->kind == Address::Kind::kUnix) add(out, *last);
        add(out, usual);
        return out;
    }
    TRY(Address const wanted, Address::parse(wish.listen));
    if (wanted.kind == Address::Kind::kUnix) {
        add(out, wanted);
        if (!wish.strict || last) add(out, usual);
        return out;
    }
    if (!wanted.is_local() && !host.insecure)
        return fail(Code::kDenied,
                    "an export at " + wanted.to_string() +
                        " could be read and written from other hosts, without encryption or password; use "
                        "127.0.0.1 or a unix socket, or run the corelets with --insecure");
    add_tcp(out, wanted, last, wish, host);
    return out;
}

std::string export_uri(const Address& address, std::string_view volume, const ExportHost& host) {
    if (address.kind == Address::Kind::kUnix)
        return std::string(k_unix_scheme) + escaped(volume) + std::string(k_socket_query) + escaped(address.host);
    std::string name = address.host;
    if (is_any_host(name)) name = host.host.empty() ? "127.0.0.1" : host.host;
    if (name.find(':') != std::string::npos) name = "[" + name + "]";
    return std::string(k_tcp_scheme) + name + ":" + std::to_string(address.port) + "/" + escaped(volume);
}

std::optional<Address> address_in_uri(std::string_view uri) {
    if (uri.starts_with(k_unix_scheme)) {
        usize const query = uri.find(k_socket_query);
        if (query == std::string_view::npos) return std::nullopt;
        return Address::unix_path(unescaped(uri.substr(query + k_socket_query.size())));
    }
    if (!uri.starts_with(k_tcp_scheme)) return std::nullopt;
    uri.remove_prefix(k_tcp_scheme.size());
    auto const address = Address::parse(uri.substr(0, uri.find('/')));
    if (!address || address->kind != Address::Kind::kTcp) return std::nullopt;
    return *address;
}

}  // namespace corelet
