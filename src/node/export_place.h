// Where clients reach a volume by NBD: which addresses are tried, and how the one that was got is told. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rt/network.h"

namespace corelet {

// Of the volume's record.
struct ExportWish {
    std::string volume = {};
    std::string listen = {};    // the address asked for; empty: a socket of the volume's name
    std::string last_uri = {};  // where it was served last; empty: nowhere since it was attached
    bool strict = false;        // the address was named with the present attachment: no other will do at first
};

// Of the corelet that serves it.
struct ExportHost {
    std::string directory;  // of the default sockets
    std::string host;       // where other hosts reach this corelet; empty if only this host does
    bool insecure = false;  // may be reached from other hosts without TLS
};

// In the order in which to try them, at least one. The last place goes first where that may be on this host:
// clients look for the volume there. kInvalid: `listen` is no address. kDenied: it reaches beyond this host,
// unencrypted.
[[nodiscard]] Result<std::vector<Address>> export_candidates(const ExportWish& wish, const ExportHost& host);

// As stock clients take it.
[[nodiscard]] std::string export_uri(const Address& address, std::string_view volume, const ExportHost& host);
// The address in such a URI; nothing if it is none.
[[nodiscard]] std::optional<Address> address_in_uri(std::string_view uri);

}  // namespace corelet
