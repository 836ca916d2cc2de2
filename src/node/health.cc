#include "node/health.h"

#include <fmt/format.h>

#include <charconv>

namespace corelet {

const char* health_name(HealthState state) {
    switch (state) {
        case HealthState::kHealthy:
            return "healthy";
        case HealthState::kDegraded:
            return "degraded";
        case HealthState::kFailed:
            return "failed";
    }
    return "unknown";
}

const char* health_name(HealthLevel level) {
    switch (level) {
        case HealthLevel::kReachable:
            return "reachable";
        case HealthLevel::kServing:
            return "serving";
        case HealthLevel::kStoring:
            return "storing";
    }
    return "unknown";
}

const char* health_name(SubjectKind kind) {
    switch (kind) {
        case SubjectKind::kMesh:
            return "mesh";
        case SubjectKind::kPool:
            return "pool";
        case SubjectKind::kVolume:
            return "volume";
        case SubjectKind::kCorelet:
            return "corelet";
        case SubjectKind::kDevice:
            return "device";
    }
    return "unknown";
}

std::string Subject::to_string() const {
    return name.empty() ? health_name(kind) : fmt::format("{} {}", health_name(kind), name);
}

std::optional<CoreletId> parse_corelet_id(std::string_view text) {
    u64 value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    bool const whole = text.size() == 16 && error == std::errc{} && end == text.data() + text.size();
    return whole ? std::optional(CoreletId(value)) : std::nullopt;
}

std::string short_duration(i64 ns) {
    if (ns < 1'000'000) return fmt::format("{} us", ns / 1'000);
    if (ns < 1'000'000'000) return fmt::format("{} ms", ns / 1'000'000);
    return fmt::format("{}.{} s", ns / 1'000'000'000, ns / 100'000'000 % 10);
}

}  // namespace corelet
