#include "node/audit_record.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/time.h"

namespace corelet {

void AuditRecord::failed(CoreletId holder, std::string why, Instant now) {
    std::erase_if(failures_, [&](const auto& item) { return now - item.second.at >= k_told; });
    if (failures_.size() >= k_holders_max && !failures_.contains(holder)) return;
    Failures& failures = failures_[holder];
    ++failures.count;
    failures.last = std::move(why);
    failures.at = now;
}

std::map<CoreletId, Finding> AuditRecord::findings(Instant now) const {
    std::map<CoreletId, Finding> out;
    for (auto const& [id, failures] : failures_)
        if (now - failures.at < k_told)
            out[id] = Finding::degraded(fmt::format("it failed {} audit{}, the last over {}", failures.count,
                                                    failures.count == 1 ? "" : "s", failures.last));
    return out;
}

}  // namespace corelet
