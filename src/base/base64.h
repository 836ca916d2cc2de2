// Bytes as text (RFC 4648).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace corelet {

// Base64url without padding (section 5): goes into URLs, file names and JSON unquoted.
[[nodiscard]] std::string to_base64(Bytes bytes);
// Nothing where it is not exactly what to_base64() gives for some bytes.
[[nodiscard]] std::optional<std::vector<u8>> from_base64(std::string_view text);

// Base64 as most others have it (section 4).
[[nodiscard]] std::string to_padded_base64(std::string_view bytes);
[[nodiscard]] std::optional<std::string> from_padded_base64(std::string_view text);

}  // namespace corelet
