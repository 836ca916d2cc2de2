#include "node/join_token.h"

#include <gtest/gtest.h>

#include "base/base64.h"
#include "base/checksum.h"
#include "base/codec.h"

namespace corelet {
namespace {

constexpr std::string_view k_text =
    "corelet-join-AQgHBgUEAwIBGBcWFRQTEhEgISIjJCUmJygpKissLS4vAGjlz4sBAAACAAIRdGNwOjEwLjAuMC4xOj"
    "c3MDAddW5peDovdG1wL2xhYi9jMS9jb3JlbGV0LnNvY2vWexAY";

JoinToken some_token() {
    JoinToken token;
    token.mesh = MeshId(0x0102030405060708);
    token.id = 0x1112131415161718;
    for (usize i = 0; i < token.secret.size(); ++i) token.secret[i] = static_cast<u8>(0x20 + i);
    token.expires = WallTime{1'700'000'000'000'000'000};
    token.role = mesh::Role::kWitness;
    token.addresses = {Address::parse("10.0.0.1:7700").value(), Address::unix_path("/tmp/lab/c1/corelet.sock")};
    return token;
}

TEST(JoinToken, ReadsBack) {
    JoinToken token = some_token();
    EXPECT_EQ(decode_token(encode_token(token)).value(), token);
    token.role.reset();
    token.ca_pin = {1, 2, 3};
    EXPECT_EQ(decode_token(encode_token(token)).value(), token);
}

TEST(JoinToken, TheTextOfTheFirstVersion) {
    EXPECT_EQ(encode_token(some_token()), k_text);
}

TEST(JoinToken, EveryMistypedCharacterIsNoticed) {
    std::string const text = encode_token(some_token());
    for (usize at = 0; at < text.size(); ++at) {
        std::string changed = text;
        changed[at] = changed[at] == 'A' ? 'B' : 'A';
        auto const read = decode_token(changed);
        ASSERT_FALSE(read) << at;
        EXPECT_EQ(read.error().code, Code::kInvalid);
        EXPECT_FALSE(decode_token(std::string_view(text).substr(0, at)));
    }
    EXPECT_NE(decode_token("xyz").error().message.find("no join token"), std::string::npos);
    EXPECT_NE(decode_token(text + " ").error().message.find("not whole"), std::string::npos);
    EXPECT_FALSE(decode_token("corelet-join-" + std::string(k_token_text_max, 'A')));
}

TEST(JoinToken, ANewerVersionIsNamedAsSuch) {
    Writer out;
    out.put(u8{2}).put(u64{1});
    out.put(crc32c(out.bytes()));
    EXPECT_EQ(decode_token("corelet-join-" + to_base64(out.bytes())).error().code, Code::kUnsupported);
}

TEST(JoinToken, TheKeyTravelsUnderTheSecret) {
    JoinToken const token = some_token();
    MacTag const verifier = token_verifier(token.mesh, token.id, token.secret);
    TokenNonce const client{1}, server{2};
    std::string const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    SealedKey const sealed = seal_key(verifier, client, server, key);
    EXPECT_EQ(sealed.bytes.size(), key.size());
    EXPECT_EQ(sealed.bytes.find(key.substr(0, 8)), std::string::npos);
    EXPECT_EQ(open_key(verifier, client, server, sealed).value(), key);
    EXPECT_NE(seal_key(verifier, client, TokenNonce{3}, key).bytes, sealed.bytes);
}

TEST(JoinToken, AnotherSecretProvesAndOpensNothing) {
    JoinToken const token = some_token();
    MacTag const verifier = token_verifier(token.mesh, token.id, token.secret);
    TokenSecret other = token.secret;
    other[3] ^= 1;
    MacTag const wrong = token_verifier(token.mesh, token.id, other);
    TokenNonce const client{1}, server{2};
    EXPECT_NE(token_proof(verifier, client), token_proof(wrong, client));
    EXPECT_NE(token_proof(verifier, client), token_proof(verifier, server));
    EXPECT_NE(verifier, token_verifier(MeshId(5), token.id, token.secret));
    EXPECT_NE(verifier, token_verifier(token.mesh, 5, token.secret));
    SealedKey sealed = seal_key(verifier, client, server, "key");
    EXPECT_EQ(open_key(wrong, client, server, sealed).error().code, Code::kDenied);
    EXPECT_FALSE(open_key(verifier, server, client, sealed));
    sealed.bytes[0] = static_cast<char>(sealed.bytes[0] ^ 1);
    EXPECT_FALSE(open_key(verifier, client, server, sealed));
}

}  // namespace
}  // namespace corelet
