// A node's log: part of the trace hash. An event of level kError fails the run unless the world expects it by name.
#pragma once

#include <deque>
#include <set>

#include "rt/log.h"
#include "sim/engine.h"

namespace corelet::sim {

// Shared by all nodes of a world.
struct LogPolicy {
    LogLevel level = LogLevel::kInfo;  // what is formatted, hashed and kept
    std::set<std::string, std::less<>> expected_errors;
    usize recent_max = 200;
    std::deque<std::string> recent;  // for the report of a failure
};

class SimLog final : public Log {
  public:
    SimLog(Engine& engine, LogPolicy& policy, u32 node, std::string node_name)
        : engine_(engine), policy_(policy), node_(node), node_name_(std::move(node_name)) {}
    // Below the level, events are made only to be shown in a printed trace, and are no part of the hash.
    [[nodiscard]] bool enabled(LogLevel level) const override {
        return level >= policy_.level || engine_.trace.is_printing();
    }
    void write(LogLevel level, std::string_view event, std::string_view text) override;

  private:
    Engine& engine_;
    LogPolicy& policy_;
    u32 node_;
    std::string node_name_;
};

}  // namespace corelet::sim
