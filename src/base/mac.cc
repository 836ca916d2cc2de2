#include "base/mac.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>

namespace corelet {
namespace {

constexpr usize k_digest_bytes = 32;
using Digest = std::array<u8, k_digest_bytes>;

// The library's own errors here are of memory or of its set-up: there is no going on.
evp_mac_ctx_st* new_context(Bytes key) {
    EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    CORELET_ASSERT(mac != nullptr, "OpenSSL has no HMAC");
    EVP_MAC_CTX* const context = EVP_MAC_CTX_new(mac);
    EVP_MAC_free(mac);
    char digest[] = "SHA256";
    OSSL_PARAM const parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                     OSSL_PARAM_construct_end()};
    CORELET_ASSERT(context != nullptr && EVP_MAC_init(context, key.data(), key.size(), parameters) == 1);
    return context;
}

Digest compute(evp_mac_ctx_st* context, Bytes first, Bytes second) {
    Digest digest{};
    usize size = 0;
    bool const done = EVP_MAC_init(context, nullptr, 0, nullptr) == 1 &&
                      EVP_MAC_update(context, first.data(), first.size()) == 1 &&
                      EVP_MAC_update(context, second.data(), second.size()) == 1 &&
                      EVP_MAC_final(context, digest.data(), &size, digest.size()) == 1;
    CORELET_ASSERT(done && size == k_digest_bytes);
    return digest;
}

}  // namespace

void MacKey::Free::operator()(evp_mac_ctx_st* context) const {
    EVP_MAC_CTX_free(context);
}

// An empty secret is no key to the library; with the byte in front each secret is one.
MacKey::MacKey(std::string_view secret, std::string_view purpose) {
    std::string const salted = "k" + std::string(secret);
    std::unique_ptr<evp_mac_ctx_st, Free> const outer(new_context(as_bytes(salted)));
    Digest const key = compute(outer.get(), as_bytes(purpose), {});
    context_.reset(new_context(key));
}

MacTag MacKey::tag(Bytes first, Bytes second) const {
    Digest const digest = compute(context_.get(), first, second);
    MacTag out;
    std::copy_n(digest.begin(), out.size(), out.begin());
    return out;
}

bool MacKey::verify(Bytes tag, Bytes first, Bytes second) const {
    return same_secret(tag, this->tag(first, second));
}

bool same_secret(Bytes one, Bytes other) {
    return one.size() == other.size() && CRYPTO_memcmp(one.data(), other.data(), one.size()) == 0;
}

}  // namespace corelet
