#include "node/token_service.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

constexpr WallTime at(i64 seconds) {
    return WallTime{seconds * 1'000'000'000};
}

class Redeeming : public ::testing::Test {
  protected:
    Redeeming() {
        record.set_verifier(std::string(as_text(verifier)));
        record.set_expires_wall_ms(100'000);
        record.set_uses_left(1);
    }
    std::string said(const MacTag& proof, WallTime now) {
        auto const checked = check_redeemable(record, proof, client, now);
        return checked ? "" : checked.error().message;
    }
    MacTag verifier = token_verifier(MeshId(1), 2, TokenSecret{7});
    TokenNonce client{5};
    pb::TokenRecord record;
};

TEST_F(Redeeming, OnceBeforeItsEnd) {
    EXPECT_EQ(said(token_proof(verifier, client), at(99)), "");
}

TEST_F(Redeeming, EachRefusalSaysWhy) {
    MacTag const proof = token_proof(verifier, client);
    EXPECT_EQ(said(proof, at(100)).find("the token has expired"), 0u);
    EXPECT_EQ(said(MacTag{}, at(1)).find("the token's secret is not"), 0u);
    EXPECT_EQ(said(token_proof(verifier, TokenNonce{6}), at(1)).find("the token's secret is not"), 0u)
        << "a proof that was overheard is good for nothing";
    record.set_uses_left(0);
    EXPECT_EQ(said(proof, at(1)).find("the token was used as often"), 0u);
    EXPECT_EQ(said(MacTag{}, at(500)).find("the token's secret is not"), 0u)
        << "who does not have it learns nothing of it";
    record.set_verifier("short");
    EXPECT_EQ(said(proof, at(1)).find("the record"), 0u);
}

}  // namespace
}  // namespace corelet
