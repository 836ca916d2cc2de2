#include "rt/network.h"

#include <charconv>

namespace corelet {

Result<Address> Address::parse(std::string_view text) {
    if (text.starts_with("unix:")) {
        if (text.size() == 5) return fail(Code::kInvalid, "unix address without a path");
        return unix_path(std::string(text.substr(5)));
    }
    if (text.starts_with("tcp:")) text.remove_prefix(4);
    usize const colon = text.rfind(':');
    if (colon == std::string_view::npos || colon == 0)
        return fail(Code::kInvalid, "'" + std::string(text) + "' is not an address; write HOST:PORT or unix:PATH");
    std::string_view host = text.substr(0, colon);
    std::string_view const digits = text.substr(colon + 1);
    if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
    u16 port = 0;
    auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size())
        return fail(Code::kInvalid, "'" + std::string(digits) + "' is not a port (0 to 65535)");
    return tcp(std::string(host), port);
}

std::string Address::to_string() const {
    if (kind == Kind::kUnix) return "unix:" + host;
    bool const v6 = host.find(':') != std::string::npos;
    return "tcp:" + (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

bool Address::is_local() const {
    return kind == Kind::kUnix || host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace corelet
