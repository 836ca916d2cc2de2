#include "node/outside_catalog.h"

#include "catalog/etcd/client.h"

namespace corelet {

Result<std::vector<Address>> parse_outside_catalog(std::string_view text, bool insecure) {
    constexpr std::string_view k_scheme = "etcd:";
    if (!text.starts_with(k_scheme))
        return fail(Code::kInvalid, "'" + std::string(text) +
                                        "' names no catalog; write etcd:HOST:PORT[,HOST:PORT...], the client "
                                        "addresses of an etcd's members");
    TRY(auto endpoints, etcd::parse_endpoints(text.substr(k_scheme.size())));
    for (const Address& endpoint : endpoints)
        if (!endpoint.is_local() && !insecure)
            return fail(Code::kDenied, "the catalog's address '" + endpoint.to_string() +
                                           "' is beyond this host, and this version neither encrypts nor "
                                           "authenticates there; on a network of its own, repeat with --insecure");
    return endpoints;
}

}  // namespace corelet
