// A join token: one string that lets a corelet into a mesh. It says which mesh, where it is, until when, and holds
// a secret that is exchanged for the mesh's key. docs/format/token.md. Pure.
//
// The catalog keeps what is derived from the secret, the end and how often it may be used. The end is by wall
// clocks, and a convenience: nothing about data rests on it.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/mac.h"
#include "base/time.h"
#include "mesh/map.h"
#include "rt/network.h"

namespace corelet {

inline constexpr usize k_token_text_max = 2048;
inline constexpr usize k_token_addresses_max = 8;
inline constexpr usize k_token_pin_max = 64;
inline constexpr Duration k_token_life_max{365LL * 24 * 3600 * 1'000'000'000};
using TokenSecret = std::array<u8, 16>;
using TokenNonce = std::array<u8, 16>;

// By which a mesh is recognised without its key: made from the key, which cannot be had back from it.
using MeshFingerprint = MacTag;
[[nodiscard]] MeshFingerprint mesh_fingerprint(MeshId mesh, std::string_view key);
// As people compare it: "1f2e-...", eight groups.
[[nodiscard]] std::string to_text(const MeshFingerprint& fingerprint);

struct JoinToken {
    MeshId mesh;
    u64 id = 0;
    TokenSecret secret{};
    WallTime expires;
    std::optional<mesh::Role> role;  // what it lets in; empty: anything
    std::vector<u8> ca_pin;          // its fingerprint, as long as there is no TLS and no CA; empty: not pinned
    std::vector<Address> addresses;  // of corelets of the mesh, 1 to 8
    friend bool operator==(const JoinToken&, const JoinToken&) = default;
};

[[nodiscard]] std::string encode_token(const JoinToken& token);
// kInvalid: no token, or one that was cut or mistyped; kUnsupported: of a newer version.
[[nodiscard]] Result<JoinToken> decode_token(std::string_view text);

// What the catalog keeps instead of the secret, which cannot be had back from it. Whoever has the token proves it
// by it, and the mesh's key travels under it, so that who only listens learns neither.
[[nodiscard]] MacTag token_verifier(MeshId mesh, u64 id, const TokenSecret& secret);
[[nodiscard]] MacTag token_proof(const MacTag& verifier, const TokenNonce& client);

struct SealedKey {
    std::string bytes;
    MacTag check{};
};
[[nodiscard]] SealedKey seal_key(const MacTag& verifier, const TokenNonce& client, const TokenNonce& server,
                                 std::string_view key);
// kDenied: not sealed under this token for this exchange.
[[nodiscard]] Result<std::string> open_key(const MacTag& verifier, const TokenNonce& client,
                                           const TokenNonce& server, const SealedKey& sealed);

}  // namespace corelet
