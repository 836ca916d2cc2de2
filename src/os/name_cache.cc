#include "os/name_cache.h"

namespace corelet::os {

namespace {
constexpr usize k_entries_max = 4096;  // beyond, unknown names stay unknown
constexpr Duration k_age_max = 60_s;
constexpr Duration k_retry_after = 5_s;
}  // namespace

std::optional<SocketAddress> NameCache::find(const std::string& host, u16 port, int family) {
    if (auto const digits = numeric_address(host, port)) return for_family(*digits, family);
    Instant const now = loop_.clock().now();
    Key const key{host, port, family};
    auto at = entries_->find(key);
    if (at == entries_->end()) {
        if (entries_->size() >= k_entries_max) return std::nullopt;
        at = entries_->emplace(key, Entry{std::nullopt, now}).first;
        ask(key);
    } else if (now - at->second.asked_at >= (at->second.address ? k_age_max : k_retry_after)) {
        at->second.asked_at = now;
        ask(key);
    }
    return at->second.address;
}

void NameCache::ask(const Key& key) {
    Inbox& inbox = loop_.inbox();
    loop_.workers().run([&inbox, key, entries = entries_]() mutable {
        auto found = resolve_blocking(key.host, key.port);
        inbox.post([key, entries = std::move(entries), found = std::move(found)] {
            if (!found) return;
            for (const SocketAddress& candidate : *found) {
                (*entries)[key].address = for_family(candidate, key.family);
                if ((*entries)[key].address) return;
            }
        });
    });
}

}  // namespace corelet::os
