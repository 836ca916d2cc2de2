#include "mesh/location.h"

#include <array>

#include "base/assert.h"

namespace corelet::mesh {
namespace {

constexpr std::array<const char*, k_level_count> k_names{"corelet", "chassis", "rack", "zone"};
constexpr usize k_part_length_max = 64;

bool valid_part(std::string_view part) {
    if (part.empty() || part.size() > k_part_length_max) return false;
    for (char c : part) {
        bool const plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && c != '.' && c != '_' && c != '-') return false;
    }
    return true;
}

}  // namespace

const char* level_name(Level level) {
    CORELET_ASSERT(static_cast<usize>(level) < k_level_count);
    return k_names[static_cast<usize>(level)];
}

std::optional<Level> parse_level(std::string_view name) {
    for (usize i = 0; i < k_level_count; ++i) {
        if (name == k_names[i]) return static_cast<Level>(i);
    }
    return std::nullopt;
}

Result<Location> Location::parse(std::string_view text) {
    Location location;
    std::array<std::string*, 3> const parts{&location.zone, &location.rack, &location.chassis};
    for (usize i = 0; i < parts.size(); ++i) {
        usize const slash = text.find('/');
        *parts[i] = std::string(text.substr(0, slash));
        if (slash == std::string_view::npos) {
            if (location.valid()) return location;
            break;
        }
        text.remove_prefix(slash + 1);
    }
    return fail(Code::kInvalid,
                "a location is zone/rack/chassis, each of 1 to 64 letters, digits, '.', '_' or '-'");
}

std::string Location::to_string() const {
    return zone + "/" + rack + "/" + chassis;
}

bool Location::valid() const {
    return valid_part(zone) && valid_part(rack) && valid_part(chassis);
}

std::string Location::domain(Level level) const {
    switch (level) {
        case Level::kZone:
            return zone;
        case Level::kRack:
            return zone + "/" + rack;
        case Level::kChassis:
            return to_string();
        case Level::kCorelet:
            break;
    }
    CORELET_UNREACHABLE("a location has no corelet in it");
}

u32 Location::distance(const Location& other) const {
    for (Level level : {Level::kChassis, Level::kRack, Level::kZone}) {
        if (domain(level) == other.domain(level)) return static_cast<u32>(level);
    }
    return k_level_count;
}

}  // namespace corelet::mesh
