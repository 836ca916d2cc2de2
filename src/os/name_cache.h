// What host names resolve to, for senders that cannot wait.
#pragma once

#include <map>

#include "os/socket_address.h"

namespace corelet::os {

class NameCache {
  public:
    explicit NameCache(Loop& loop) : loop_(loop) {}
    // The address last known for a host; asks for it in the background when it is unknown or old. `family`: AF_INET
    // or AF_INET6, as the sending socket needs.
    [[nodiscard]] std::optional<SocketAddress> find(const std::string& host, u16 port, int family);

  private:
    struct Key {
        std::string host;
        u16 port = 0;
        int family = 0;
        friend auto operator<=>(const Key&, const Key&) = default;
    };
    struct Entry {
        std::optional<SocketAddress> address;
        Instant asked_at;
    };
    // Shared with lookups in flight, which may outlive the cache.
    using Entries = std::map<Key, Entry>;
    void ask(const Key& key);
    Loop& loop_;
    std::shared_ptr<Entries> entries_ = std::make_shared<Entries>();
};

}  // namespace corelet::os
