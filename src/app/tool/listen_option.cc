#include "app/tool/listen_option.h"

#include <fmt/format.h>

namespace corelet::app {

Result<Address> parse_listen(const std::string& text, bool insecure) {
    TRY(Address address, Address::parse(text));
    if (address.host == "0.0.0.0" || address.host == "::")
        return fail(
            Code::kInvalid,
            fmt::format("'{}' is no address that others can be told; name one of this machine's own", text));
    if (!address.is_local() && !insecure)
        return fail(
            Code::kDenied,
            fmt::format("'{}' is beyond this host, and this version neither encrypts nor authenticates there; "
                        "on a network of its own, repeat with --insecure",
                        text));
    return address;
}

}  // namespace corelet::app
