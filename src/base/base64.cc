#include "base/base64.h"

#include <openssl/evp.h>

#include <algorithm>

namespace corelet {

std::string to_padded_base64(std::string_view bytes) {
    std::string out((bytes.size() + 2) / 3 * 4 + 1, '\0');  // the library ends it with a zero
    int const written = EVP_EncodeBlock(reinterpret_cast<u8*>(out.data()),
                                        reinterpret_cast<const u8*>(bytes.data()), static_cast<int>(bytes.size()));
    out.resize(static_cast<usize>(written));
    return out;
}

std::optional<std::string> from_padded_base64(std::string_view text) {
    if (text.empty()) return std::string();
    std::string out(text.size() / 4 * 3, '\0');
    int const written = EVP_DecodeBlock(reinterpret_cast<u8*>(out.data()), reinterpret_cast<const u8*>(text.data()),
                                        static_cast<int>(text.size()));
    if (written < 0) return std::nullopt;
    usize const padding = text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0;
    out.resize(static_cast<usize>(written) - padding);
    return out;
}

std::string to_base64(Bytes bytes) {
    std::string out = to_padded_base64(as_text(bytes));
    out.resize(out.find_last_not_of('=') + 1);
    std::ranges::replace(out, '+', '-');
    std::ranges::replace(out, '/', '_');
    return out;
}

std::optional<std::vector<u8>> from_base64(std::string_view text) {
    std::string padded(text);
    std::ranges::replace(padded, '-', '+');
    std::ranges::replace(padded, '_', '/');
    padded.append((4 - padded.size() % 4) % 4, '=');
    auto const bytes = from_padded_base64(padded);
    // Of several texts for the same bytes one counts.
    if (!bytes || to_base64(as_bytes(*bytes)) != text) return std::nullopt;
    return std::vector<u8>(bytes->begin(), bytes->end());
}

}  // namespace corelet
