#include "os/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace corelet::os {

namespace {

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::kDebug:
            return spdlog::level::debug;
        case LogLevel::kInfo:
            return spdlog::level::info;
        case LogLevel::kWarning:
            return spdlog::level::warn;
        case LogLevel::kError:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

bool is_plain(char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F;
}

std::string escaped(std::string_view text) {
    static constexpr std::string_view k_digits = "0123456789abcdef";
    std::string out;
    for (char const c : text) {
        if (is_plain(c)) {
            out += c;
        } else if (c == '\n') {
            out += "\\n";
        } else {
            auto const byte = static_cast<unsigned char>(c);
            out += {'\\', 'x', k_digits[byte >> 4], k_digits[byte & 15]};
        }
    }
    return out;
}

class SpdLog final : public Log {
  public:
    SpdLog(spdlog::sink_ptr sink, LogLevel level) : logger_("corelet", std::move(sink)), level_(level) {
        logger_.set_level(spdlog_level(level));
        logger_.flush_on(spdlog::level::debug);
        logger_.set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %l %v",
                                                                          spdlog::pattern_time_type::utc));
    }
    bool enabled(LogLevel level) const override { return level >= level_; }
    void write(LogLevel level, std::string_view event, std::string_view text) override {
        if (!enabled(level)) return;
        std::string line(event);
        if (!text.empty()) {
            line += ' ';
            line += std::ranges::all_of(text, is_plain) ? std::string(text) : escaped(text);
        }
        logger_.log(spdlog_level(level), spdlog::string_view_t(line));
    }

  private:
    spdlog::logger logger_;
    LogLevel level_;
};

}  // namespace

Result<std::unique_ptr<Log>> make_log(const LogOptions& options) {
    if (options.path.empty())
        return std::make_unique<SpdLog>(std::make_shared<spdlog::sinks::stderr_sink_mt>(), options.level);
    try {
        auto sink = std::make_shared<spdlog::sinks::rotating_file_sink_mt>(options.path, options.bytes_max,
                                                                           options.files_max);
        return std::make_unique<SpdLog>(std::move(sink), options.level);
    } catch (const spdlog::spdlog_ex& error) {
        return fail(Code::kIo, "opening the log '" + options.path + "': " + error.what());
    }
}

}  // namespace corelet::os
