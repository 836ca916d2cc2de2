// Structured events: a stable, greppable name and a text made only if somebody listens. In the simulator events are
// part of the trace hash, and one of level kError fails the run unless it is expected there.
#pragma once

#include <string>
#include <string_view>

#include "base/types.h"

namespace corelet {

enum class LogLevel : u8 { kDebug, kInfo, kWarning, kError };

class Log {
  public:
    virtual ~Log() = default;
    [[nodiscard]] virtual bool enabled(LogLevel level) const = 0;
    // `event` like "chunk.repaired".
    virtual void write(LogLevel level, std::string_view event, std::string_view text) = 0;
};

// `text` is a string, or a callable that makes one and is only called if the level is enabled.
template <class Text>
void log_event(Log& log, LogLevel level, std::string_view event, Text&& text) {
    if (!log.enabled(level)) return;
    if constexpr (std::is_invocable_v<Text>) {
        log.write(level, event, text());
    } else {
        log.write(level, event, text);
    }
}
template <class Text = std::string_view>
void log_debug(Log& log, std::string_view event, Text&& text = {}) {
    log_event(log, LogLevel::kDebug, event, text);
}
template <class Text = std::string_view>
void log_info(Log& log, std::string_view event, Text&& text = {}) {
    log_event(log, LogLevel::kInfo, event, text);
}
template <class Text = std::string_view>
void log_warning(Log& log, std::string_view event, Text&& text = {}) {
    log_event(log, LogLevel::kWarning, event, text);
}
template <class Text = std::string_view>
void log_error(Log& log, std::string_view event, Text&& text = {}) {
    log_event(log, LogLevel::kError, event, text);
}

}  // namespace corelet
