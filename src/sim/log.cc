#include "sim/log.h"

namespace corelet::sim {

namespace {
const char* level_name(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return "debug";
        case LogLevel::kInfo:
            return "info";
        case LogLevel::kWarning:
            return "warning";
        case LogLevel::kError:
            return "error";
    }
    return "?";
}
}  // namespace

void SimLog::write(LogLevel level, std::string_view event, std::string_view text) {
    std::string line;
    line.reserve(node_name_.size() + event.size() + text.size() + 16);
    line.append(node_name_).append(" ").append(level_name(level)).append(" ").append(event);
    if (!text.empty()) line.append(": ").append(text);
    if (level < policy_.level) {
        engine_.trace.note(node_, line);
        return;
    }
    engine_.trace.record_text(TraceKind::kLog, node_, line);
    if (level == LogLevel::kError && !policy_.expected_errors.contains(event)) {
        engine_.fail("an error that nobody expects was logged: " + line);
    }
    if (policy_.recent.size() >= policy_.recent_max) policy_.recent.pop_front();
    policy_.recent.push_back(std::to_string(engine_.now().ns / 1'000'000) + " ms " + std::move(line));
}

}  // namespace corelet::sim
