#include "base/base64.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet {
namespace {

std::string text_of(std::string_view text) {
    return to_base64(as_bytes(text));
}

TEST(Base64, AsTheStandardHasIt) {
    EXPECT_EQ(text_of(""), "");
    EXPECT_EQ(text_of("f"), "Zg");
    EXPECT_EQ(text_of("fo"), "Zm8");
    EXPECT_EQ(text_of("foo"), "Zm9v");
    EXPECT_EQ(text_of("foobar"), "Zm9vYmFy");
    EXPECT_EQ(text_of("\xFB\xFF"), "-_8");
}

TEST(Base64, ReadsBackAnything) {
    Prng rng(5);
    for (usize size = 0; size < 100; ++size) {
        std::vector<u8> bytes(size);
        for (u8& byte : bytes) byte = static_cast<u8>(rng.below(256));
        EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
    }
}

TEST(Base64, RefusesWhatItWouldNotWrite) {
    for (const char* text : {"Z", "Zg==", "Zh", "Zm9", "Z g", "Zm9v+", "Zm9v/", "Zm9vY"})
        EXPECT_EQ(from_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace corelet
