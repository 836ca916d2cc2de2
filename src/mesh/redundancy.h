// How many copies or fragments a pool keeps: k data and m parity; k = 1 is replication with m + 1 copies.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/types.h"

namespace corelet::mesh {

struct Redundancy {
    u8 k = 1;  // 1 to 16
    u8 m = 2;  // 0 to 8; the pool's promise: so many losses are survived

    [[nodiscard]] unsigned width() const { return unsigned{k} + m; }
    [[nodiscard]] bool is_replicated() const { return k == 1; }
    [[nodiscard]] bool valid() const { return k >= 1 && k <= 16 && m <= 8; }
    // "rep:3", "ec:4+2".
    [[nodiscard]] std::string to_string() const;
    [[nodiscard]] static Result<Redundancy> parse(std::string_view text);
    friend bool operator==(const Redundancy&, const Redundancy&) = default;
};

}  // namespace corelet::mesh
