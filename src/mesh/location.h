// Where a corelet stands, and the levels at which things fail together.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace corelet::mesh {

// Failure domains from the smallest to the largest. Numbers are persisted.
enum class Level : u8 { kCorelet = 0, kChassis = 1, kRack = 2, kZone = 3 };
inline constexpr usize k_level_count = 4;
[[nodiscard]] const char* level_name(Level level);
[[nodiscard]] std::optional<Level> parse_level(std::string_view name);

// `zone/rack/chassis`. A chassis is known by its whole path: two racks may each have a chassis "1". Parts are 1 to
// 64 characters of [A-Za-z0-9._-].
struct Location {
    std::string zone = "default";
    std::string rack = "default";
    std::string chassis = "default";

    // One to three parts; what is left out is "default". Else kInvalid.
    [[nodiscard]] static Result<Location> parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] bool valid() const;
    // The path down to `level` ("z", "z/r", "z/r/c"); level is not kCorelet.
    [[nodiscard]] std::string domain(Level level) const;
    // The smallest level above kCorelet whose domain the two share, as a number; k_level_count if they share none.
    [[nodiscard]] u32 distance(const Location& other) const;

    friend auto operator<=>(const Location&, const Location&) = default;
};

}  // namespace corelet::mesh
