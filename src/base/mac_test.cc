#include "base/mac.h"

#include <gtest/gtest.h>

namespace corelet {
namespace {

TEST(Mac, PartsAreOneAfterTheOther) {
    MacKey const key("secret", "purpose");
    EXPECT_EQ(key.tag(as_bytes("ab"), as_bytes("c")), key.tag(as_bytes("abc")));
    EXPECT_EQ(key.tag({}, as_bytes("abc")), key.tag(as_bytes("abc")));
    EXPECT_NE(key.tag(as_bytes("abc")), key.tag(as_bytes("abd")));
}

TEST(Mac, EachSecretAndPurposeHasAKeyOfItsOwn) {
    MacKey const key("secret", "purpose");
    for (MacKey const& other : {MacKey("", "purpose"), MacKey("secret", ""), MacKey("secret2", "purpose")}) {
        EXPECT_NE(other.tag(as_bytes("text")), key.tag(as_bytes("text")));
        EXPECT_FALSE(other.verify(key.tag(as_bytes("text")), as_bytes("text")));
    }
    EXPECT_EQ(MacKey("secret", "purpose").tag(as_bytes("text")), key.tag(as_bytes("text")));
}

TEST(Mac, VerifiesOnlyTheWholeTag) {
    MacKey const key("secret", "purpose");
    auto tag = key.tag(as_bytes("text"));
    EXPECT_TRUE(key.verify(tag, as_bytes("te"), as_bytes("xt")));
    EXPECT_FALSE(key.verify(Bytes(tag).first(15), as_bytes("text")));
    EXPECT_FALSE(key.verify({}, as_bytes("text")));
    tag[15] ^= 1;
    EXPECT_FALSE(key.verify(tag, as_bytes("text")));
}

// It goes over the wire: the same for every version. By Python: hmac(hmac("ksecret", "purpose"), "text").
TEST(Mac, IsPinned) {
    EXPECT_EQ(
        MacKey("secret", "purpose").tag(as_bytes("text")),
        (MacTag{0xa4, 0x57, 0x8e, 0xec, 0x41, 0x7c, 0xb8, 0xcb, 0xf0, 0x31, 0x4e, 0x50, 0xd7, 0x2f, 0x41, 0x32}));
}

}  // namespace
}  // namespace corelet
