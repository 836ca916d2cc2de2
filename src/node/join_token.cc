#include "node/join_token.h"

#include <algorithm>

#include "base/assert.h"
#include "base/base64.h"
#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {

namespace {

constexpr std::string_view k_prefix = "corelet-join-";
constexpr u8 k_version = 1;

void put_short(Writer& out, Bytes bytes) {
    CORELET_ASSERT(bytes.size() <= 255);
    out.put(static_cast<u8>(bytes.size()));
    out.put_raw(bytes);
}

std::optional<Bytes> get_short(Reader& in) {
    usize const size = in.get<u8>();
    if (in.failed() || in.remaining() < size) return std::nullopt;
    return in.get_raw(size);
}

Error cut() {
    return Error{Code::kInvalid, false, 0,
                 "the token is not whole: copy all of it, from 'corelet-join-' on, without spaces or line ends"};
}

Result<void> take_addresses(Reader& in, JoinToken& out) {
    usize const count = in.get<u8>();
    if (in.failed() || count == 0 || count > k_token_addresses_max) return std::unexpected(cut());
    for (usize i = 0; i < count; ++i) {
        auto const text = get_short(in);
        auto address = text ? Address::parse(as_text(*text)) : Result<Address>(std::unexpected(cut()));
        if (!address) return std::unexpected(cut());
        out.addresses.push_back(*std::move(address));
    }
    return {};
}

std::vector<u8> number_bytes(u64 a, u64 b) {
    Writer out;
    out.put(a).put(b);
    return std::move(out.mutable_data());
}

std::vector<u8> both(const TokenNonce& client, const TokenNonce& server) {
    std::vector<u8> out(client.begin(), client.end());
    out.insert(out.end(), server.begin(), server.end());
    return out;
}

// As a stream cipher: a block of the key stream for each 16 bytes.
std::string under_stream(const MacTag& verifier, Bytes exchange, std::string_view text) {
    MacKey const key(as_text(verifier), "corelet token seal");
    std::string out(text);
    for (usize at = 0; at < out.size(); at += sizeof(MacTag)) {
        MacTag const block = key.tag(exchange, number_bytes(at, out.size()));
        for (usize i = 0; i < block.size() && at + i < out.size(); ++i)
            out[at + i] = static_cast<char>(static_cast<u8>(out[at + i]) ^ block[i]);
    }
    return out;
}

}  // namespace

MeshFingerprint mesh_fingerprint(MeshId mesh, std::string_view key) {
    return MacKey(key, "corelet mesh fingerprint").tag(number_bytes(mesh.v, 0));
}

std::string to_text(const MeshFingerprint& fingerprint) {
    constexpr std::string_view k_digits = "0123456789abcdef";
    std::string out;
    for (usize i = 0; i < fingerprint.size(); ++i) {
        if (i != 0 && i % 2 == 0) out += '-';
        out += k_digits[fingerprint[i] >> 4];
        out += k_digits[fingerprint[i] & 15];
    }
    return out;
}

std::string encode_token(const JoinToken& token) {
    CORELET_ASSERT(!token.addresses.empty() && token.addresses.size() <= k_token_addresses_max);
    Writer out;
    out.put(k_version).put(token.mesh).put(token.id);
    out.put_raw(token.secret);
    out.put(static_cast<u64>(token.expires.unix_ns / 1'000'000));
    out.put(token.role ? static_cast<u8>(*token.role) : u8{0});
    put_short(out, token.ca_pin);
    out.put(static_cast<u8>(token.addresses.size()));
    for (const Address& address : token.addresses) put_short(out, as_bytes(address.to_string()));
    out.put(crc32c(out.bytes()));
    return std::string(k_prefix) + to_base64(out.bytes());
}

Result<JoinToken> decode_token(std::string_view text) {
    if (!text.starts_with(k_prefix))
        return fail(Code::kInvalid, "this is no join token; make one in the mesh: corelet token create");
    auto const bytes = text.size() <= k_token_text_max ? from_base64(text.substr(k_prefix.size())) : std::nullopt;
    if (!bytes || bytes->size() < 5) return std::unexpected(cut());
    Bytes const body = Bytes(*bytes).first(bytes->size() - 4);
    Reader sum(Bytes(*bytes).subspan(body.size()));
    if (sum.get<u32>() != crc32c(body)) return std::unexpected(cut());
    Reader in(body);
    if (u8 const version = in.get<u8>(); version != k_version)
        return fail(Code::kUnsupported, "the token is of a newer version of corelet; update this one", version);
    JoinToken out;
    out.mesh = in.get<MeshId>();
    out.id = in.get<u64>();
    if (in.remaining() < out.secret.size()) return std::unexpected(cut());
    std::ranges::copy(in.get_raw(out.secret.size()), out.secret.begin());
    u64 const expires_ms = in.get<u64>();
    u8 const role = in.get<u8>();
    auto const pin = get_short(in);
    if (!pin || pin->size() > k_token_pin_max || expires_ms > INT64_MAX / 1'000'000) return std::unexpected(cut());
    out.expires = WallTime{static_cast<i64>(expires_ms) * 1'000'000};
    out.ca_pin.assign(pin->begin(), pin->end());
    if (role > static_cast<u8>(mesh::Role::kGateway)) return std::unexpected(cut());
    if (role != 0) out.role = static_cast<mesh::Role>(role);
    TRY_VOID(take_addresses(in, out));
    if (in.failed() || in.remaining() != 0 || out.mesh.is_zero()) return std::unexpected(cut());
    return out;
}

MacTag token_verifier(MeshId mesh, u64 id, const TokenSecret& secret) {
    return MacKey(as_text(secret), "corelet token verifier").tag(number_bytes(mesh.v, id));
}

MacTag token_proof(const MacTag& verifier, const TokenNonce& client) {
    return MacKey(as_text(verifier), "corelet token proof").tag(client);
}

SealedKey seal_key(const MacTag& verifier, const TokenNonce& client, const TokenNonce& server,
                   std::string_view key) {
    auto const exchange = both(client, server);
    SealedKey out;
    out.bytes = under_stream(verifier, exchange, key);
    out.check = MacKey(as_text(verifier), "corelet token check").tag(exchange, as_bytes(out.bytes));
    return out;
}

Result<std::string> open_key(const MacTag& verifier, const TokenNonce& client, const TokenNonce& server,
                             const SealedKey& sealed) {
    auto const exchange = both(client, server);
    if (!MacKey(as_text(verifier), "corelet token check").verify(sealed.check, exchange, as_bytes(sealed.bytes)))
        return fail(Code::kDenied,
                    "whoever answers there does not know this token: it is not the mesh it says to be");
    return under_stream(verifier, exchange, sealed.bytes);
}

}  // namespace corelet
