// How fast healing may rebuild at most: an operator's word, kept in the catalog. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/types.h"

namespace corelet {

inline constexpr const char* k_limit_key = "healing/limit";

// Bytes a second; 0: no limit.
struct HealingLimit {
    u64 corelet = 0;
    u64 mesh = 0;  // shared by those that have something to rebuild
    friend bool operator==(const HealingLimit&, const HealingLimit&) = default;
};
[[nodiscard]] std::string encode_limit(const HealingLimit& limit);
// Nothing if it is no such record.
[[nodiscard]] std::optional<HealingLimit> decode_limit(std::string_view bytes);

}  // namespace corelet
