// Message authentication: HMAC-SHA-256 (RFC 2104), cut to 128 bits.
#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "base/bytes.h"

struct evp_mac_ctx_st;  // OpenSSL's

namespace corelet {

using MacTag = std::array<u8, 16>;

// Takes as long for everything of that length, so that an answer's time tells nothing about a secret.
[[nodiscard]] bool same_secret(Bytes one, Bytes other);

class MacKey {
  public:
    // A key of its own for each `purpose`, made from a secret that has several.
    MacKey(std::string_view secret, std::string_view purpose);
    // Of the parts one after the other.
    [[nodiscard]] MacTag tag(Bytes first, Bytes second = {}) const;
    // In the same time for all wrong tags.
    [[nodiscard]] bool verify(Bytes tag, Bytes first, Bytes second = {}) const;

  private:
    struct Free {
        void operator()(evp_mac_ctx_st* context) const;
    };
    std::unique_ptr<evp_mac_ctx_st, Free> context_;
};

}  // namespace corelet
