#include "app/tool/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <span>

namespace corelet::app {

namespace {

struct Unit {
    std::string_view name;
    u64 factor;
};
constexpr std::array<Unit, 17> k_sizes{{{"", 1},
                                        {"B", 1},
                                        {"K", k_kib},
                                        {"k", k_kib},
                                        {"KiB", k_kib},
                                        {"Ki", k_kib},
                                        {"M", k_mib},
                                        {"MiB", k_mib},
                                        {"Mi", k_mib},
                                        {"G", k_gib},
                                        {"GiB", k_gib},
                                        {"Gi", k_gib},
                                        {"T", k_tib},
                                        {"TiB", k_tib},
                                        {"Ti", k_tib},
                                        {"P", 1024 * k_tib},
                                        {"PiB", 1024 * k_tib}}};
constexpr std::array<Unit, 5> k_times{{{"", 1'000'000'000},
                                       {"ms", 1'000'000},
                                       {"s", 1'000'000'000},
                                       {"min", 60'000'000'000},
                                       {"h", 3'600'000'000'000}}};

// Digits, perhaps a point and more digits, then a unit; the fraction is cut to what is whole.
std::optional<u64> parse_quantity(std::string_view text, std::span<const Unit> units) {
    u64 whole = 0;
    const char* const end = text.data() + text.size();
    auto const [after, error] = std::from_chars(text.data(), end, whole);
    if (error != std::errc()) return std::nullopt;
    text = std::string_view(after, end);
    std::string_view digits;
    if (text.starts_with('.')) {
        usize const length = std::min(text.find_first_not_of("0123456789", 1), text.size());
        digits = text.substr(1, length - 1);
        if (digits.empty() || digits.size() > 18) return std::nullopt;
        text.remove_prefix(length);
    }
    for (const Unit& unit : units) {
        if (unit.name != text) continue;
        u128 fraction = 0, scale = 1;
        for (char const digit : digits) {
            fraction = fraction * 10 + static_cast<unsigned>(digit - '0');
            scale *= 10;
        }
        u128 const value = static_cast<u128>(whole) * unit.factor + fraction * unit.factor / scale;
        if (value > INT64_MAX) return std::nullopt;
        return static_cast<u64>(value);
    }
    return std::nullopt;
}

}  // namespace

Result<u64> parse_size(std::string_view text) {
    if (auto const size = parse_quantity(text, k_sizes)) return *size;
    return fail(Code::kInvalid, fmt::format("'{}' is no size; write 4096, 512M, 8G or 1.5T", text));
}

std::string format_size(u64 bytes) {
    static constexpr std::array<Unit, 5> k_shown{
        {{"PiB", 1024 * k_tib}, {"TiB", k_tib}, {"GiB", k_gib}, {"MiB", k_mib}, {"KiB", k_kib}}};
    for (const Unit& unit : k_shown) {
        if (bytes < unit.factor) continue;
        u64 const whole = bytes / unit.factor;
        u64 const tenth = (bytes % unit.factor) * 10 / unit.factor;
        if (tenth == 0 || whole >= 100) return fmt::format("{} {}", whole, unit.name);
        return fmt::format("{}.{} {}", whole, tenth, unit.name);
    }
    return fmt::format("{} B", bytes);
}

Result<Duration> parse_duration(std::string_view text) {
    if (auto const ns = parse_quantity(text, k_times)) return Duration{static_cast<i64>(*ns)};
    return fail(Code::kInvalid, fmt::format("'{}' is no duration; write 500ms, 5s, 10min or 2h", text));
}

std::string format_duration(Duration duration) {
    i64 const ms = duration.ms();
    if (ms < 60'000) return fmt::format("{}.{} s", ms / 1000, ms % 1000 / 100);
    i64 const seconds = ms / 1000;
    if (seconds < 3600) return fmt::format("{} min {} s", seconds / 60, seconds % 60);
    return fmt::format("{} h {} min", seconds / 3600, seconds / 60 % 60);
}

std::string format_time(i64 unix_seconds) {
    i64 const day = unix_seconds / 86'400, second = unix_seconds % 86'400;
    // Years that begin in March, in groups of 400: then each month has its place, and leap days come last.
    i64 const shifted = day + 719'468, era = shifted / 146'097, of_era = shifted % 146'097;
    i64 const year_of_era = (of_era - of_era / 1'460 + of_era / 36'524 - of_era / 146'096) / 365;
    i64 const of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    i64 const march_month = (5 * of_year + 2) / 153;
    i64 const month = march_month < 10 ? march_month + 3 : march_month - 9;
    i64 const year = year_of_era + era * 400 + (month <= 2 ? 1 : 0);
    return fmt::format("{:04}-{:02}-{:02} {:02}:{:02} UTC", year, month, of_year - (153 * march_month + 2) / 5 + 1,
                       second / 3'600, second / 60 % 60);
}

}  // namespace corelet::app
