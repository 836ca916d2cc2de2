// Health and events as JSON, for `status` and `events` (docs/guide/status.md).
#pragma once

#include "base/json.h"
#include "node/event_log.h"
#include "node/health_ledger.h"
#include "node/mesh_view.h"

namespace corelet {

// What this corelet has found, for its `info`: all records that are not healthy, and since when it watches.
[[nodiscard]] Json own_health(const NodeServices& node);

// What everybody says, put together by subject.
class HealthBook {
  public:
    explicit HealthBook(const CoreletReports& reports);
    // What the asked corelet sees for itself just now. Its time is that of a corelet which says the same, else now.
    void add(const Subject& subject, HealthLevel level, Finding finding, WallTime now);
    // {"state", "level", "reason", "since", "findings"}: of the worst finding; of equally bad ones the one at the
    // lowest level, on which the others rest. Each with who says so. Of a healthy one: since when nobody has known
    // better.
    [[nodiscard]] Json of(const Subject& subject) const;

  private:
    struct Said {
        HealthState state = HealthState::kHealthy;
        std::string reason;
        i64 since_ms = 0;
        std::vector<std::string> by;
    };
    void hear(const Findings::Key& key, Said said);
    std::map<Findings::Key, Said> said_;
    i64 watching_since_ms_ = INT64_MAX;
};

// A command's arguments: {"since_ms": unix time, "after": {corelet: number}}. Its answer: {"events": [...],
// "cursor": {corelet: number}, "silent": [corelet...]}: those of all corelets that are up, oldest first; who did
// not answer within half a second is silent.
[[nodiscard]] Task<Result<Json>> mesh_events(NodeServices& node, Json arguments);
// Of this corelet alone: {"events": [...]}; arguments: {"since_ms", "after": number}.
[[nodiscard]] Json own_events(const NodeServices& node, const Json& arguments);

}  // namespace corelet
