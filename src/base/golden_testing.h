// Bytes as text that a person can compare, for tests that hold a format on disk or wire to what it was: hex in
// groups of eight bytes, and "00*N" for runs of zeros, so that a block of 4 KiB is a few lines.
//
// A golden test that fails says that bytes changed which other versions wrote or read. That is a change of format:
// raise its version, keep reading the old form, and keep its golden text as the fixture of the old form
// (CONTRIBUTING.md, "Commits").
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "base/bytes.h"

namespace corelet::testing {

[[nodiscard]] inline std::string golden(Bytes bytes) {
    static constexpr char k_digits[] = "0123456789abcdef";
    static constexpr usize k_run_min = 8, k_group = 8;
    std::string out;
    usize in_group = 0;
    for (usize at = 0; at < bytes.size();) {
        usize run = 0;
        while (at + run < bytes.size() && bytes[at + run] == 0) ++run;
        if (run >= k_run_min) {
            out += (out.empty() ? "00*" : " 00*") + std::to_string(run);
            at += run;
            in_group = k_group;
            continue;
        }
        if (in_group == k_group) {
            out += ' ';
            in_group = 0;
        }
        out += k_digits[bytes[at] >> 4];
        out += k_digits[bytes[at] & 15];
        ++in_group;
        ++at;
    }
    return out;
}

// Back again: what a device or a peer of that version would hand us.
[[nodiscard]] inline std::vector<u8> from_golden(std::string_view text) {
    auto const digit = [](char c) { return static_cast<u8>(c <= '9' ? c - '0' : c - 'a' + 10); };
    std::vector<u8> out;
    while (!text.empty()) {
        std::string_view const word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (word.starts_with("00*")) {
            out.resize(out.size() + std::stoul(std::string(word.substr(3))));
            continue;
        }
        CORELET_ASSERT(word.size() % 2 == 0);
        for (usize i = 0; i < word.size(); i += 2)
            out.push_back(static_cast<u8>(digit(word[i]) << 4 | digit(word[i + 1])));
    }
    return out;
}

}  // namespace corelet::testing
