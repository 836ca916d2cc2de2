// The words of health: of what it is said, how well that is, and at which level that was found. Plain values.
#pragma once

#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace corelet {

// Numbers of these enums are persisted and go over the wire.
enum class HealthState : u8 { kHealthy = 0, kDegraded = 1, kFailed = 2 };
// Each rests on the one before it: who is not reached serves nothing, and who does not serve stores nothing.
enum class HealthLevel : u8 {
    kReachable = 0,  // gossip: does anybody hear it?
    kServing = 1,    // does it answer real requests within their deadline?
    kStoring = 2,    // does its device, or what lies on devices, do what it should: errors, latency, space?
};
inline constexpr usize k_health_levels = 3;
enum class SubjectKind : u8 { kMesh = 0, kPool = 1, kVolume = 2, kCorelet = 3, kDevice = 4 };

[[nodiscard]] const char* health_name(HealthState state);
[[nodiscard]] const char* health_name(HealthLevel level);
[[nodiscard]] const char* health_name(SubjectKind kind);

struct Subject {
    SubjectKind kind = SubjectKind::kMesh;
    std::string name;  // of a corelet or device its id; of a pool or volume its name; of the mesh nothing
    [[nodiscard]] static Subject mesh() { return {}; }
    [[nodiscard]] static Subject pool(std::string name) { return {SubjectKind::kPool, std::move(name)}; }
    [[nodiscard]] static Subject volume(std::string name) { return {SubjectKind::kVolume, std::move(name)}; }
    [[nodiscard]] static Subject corelet(CoreletId id) { return {SubjectKind::kCorelet, corelet::to_string(id)}; }
    [[nodiscard]] static Subject device(CoreletId id) { return {SubjectKind::kDevice, corelet::to_string(id)}; }
    [[nodiscard]] std::string to_string() const;  // "volume v"
    friend auto operator<=>(const Subject&, const Subject&) = default;
};

// What is seen of a subject at one level just now.
struct Finding {
    HealthState state = HealthState::kHealthy;
    std::string reason;  // for people; empty if healthy
    [[nodiscard]] static Finding healthy() { return {}; }
    [[nodiscard]] static Finding degraded(std::string reason) {
        return {HealthState::kDegraded, std::move(reason)};
    }
    [[nodiscard]] static Finding failed(std::string reason) { return {HealthState::kFailed, std::move(reason)}; }
    friend bool operator==(const Finding&, const Finding&) = default;
};

// A subject's state at one level has changed.
struct HealthChange {
    Subject subject;
    HealthLevel level = HealthLevel::kReachable;
    HealthState from = HealthState::kHealthy;
    HealthState to = HealthState::kHealthy;
    std::string reason;  // of the worse of the two states
    friend bool operator==(const HealthChange&, const HealthChange&) = default;
};

// Sixteen hex digits; nothing if it is anything else.
[[nodiscard]] std::optional<CoreletId> parse_corelet_id(std::string_view text);

// "3.2 s", "412 ms", "86 us".
[[nodiscard]] std::string short_duration(i64 ns);

}  // namespace corelet
