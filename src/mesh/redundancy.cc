#include "mesh/redundancy.h"

#include <charconv>

namespace corelet::mesh {
namespace {

// The whole text as a small number, or -1.
int whole_number(std::string_view text) {
    int value = -1;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    bool const all = error == std::errc{} && end == text.data() + text.size();
    return all && value >= 0 && value <= 255 ? value : -1;
}

}  // namespace

std::string Redundancy::to_string() const {
    if (is_replicated()) return "rep:" + std::to_string(m + 1);
    return "ec:" + std::to_string(k) + "+" + std::to_string(m);
}

Result<Redundancy> Redundancy::parse(std::string_view text) {
    Redundancy redundancy{0, 0};
    if (text.starts_with("rep:")) {
        int const copies = whole_number(text.substr(4));
        if (copies >= 1) redundancy = {1, static_cast<u8>(copies - 1)};
    } else if (text.starts_with("ec:")) {
        usize const plus = text.find('+');
        int const k = whole_number(text.substr(3, plus == std::string_view::npos ? plus : plus - 3));
        int const m = plus == std::string_view::npos ? -1 : whole_number(text.substr(plus + 1));
        if (k >= 2 && m >= 0) redundancy = {static_cast<u8>(k), static_cast<u8>(m)};
    }
    if (redundancy.valid()) return redundancy;
    return fail(
        Code::kInvalid,
        "redundancy is rep:N (1 to 9 copies) or ec:K+M (2 to 16 data, 0 to 8 parity), such as rep:3 or ec:4+2");
}

}  // namespace corelet::mesh
