#include "app/tool/units.h"

#include <gtest/gtest.h>

namespace corelet::app {
namespace {

TEST(Sizes, AreReadInBinaryUnits) {
    EXPECT_EQ(parse_size("4096").value(), 4096u);
    EXPECT_EQ(parse_size("512M").value(), 512 * k_mib);
    EXPECT_EQ(parse_size("8G").value(), 8 * k_gib);
    EXPECT_EQ(parse_size("8GiB").value(), 8 * k_gib);
    EXPECT_EQ(parse_size("1.5T").value(), k_tib + k_tib / 2);
    EXPECT_EQ(parse_size("0.1K").value(), 102u);
}

TEST(Sizes, OfNoKnownUnitOrNoWholeNumberAreRefused) {
    for (const char* text : {"", "G", "8GB", "8 G", "-1", "1.G", ".5G", "1e3", "99999999P", "8G8"})
        EXPECT_EQ(parse_size(text).error().code, Code::kInvalid) << text;
}

TEST(Sizes, AreShownRoundedDown) {
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(1023), "1023 B");
    EXPECT_EQ(format_size(8 * k_gib), "8 GiB");
    EXPECT_EQ(format_size(k_gib + k_gib / 2), "1.5 GiB");
    EXPECT_EQ(format_size(2 * k_mib - 1), "1.9 MiB");
    EXPECT_EQ(format_size(150 * k_mib + k_mib / 2), "150 MiB");
}

TEST(Durations, AreReadAndShown) {
    EXPECT_EQ(parse_duration("500ms").value(), 500_ms);
    EXPECT_EQ(parse_duration("5s").value(), 5_s);
    EXPECT_EQ(parse_duration("5").value(), 5_s);
    EXPECT_EQ(parse_duration("1.5min").value(), 90_s);
    EXPECT_EQ(parse_duration("2h").value(), 120_min);
    EXPECT_FALSE(parse_duration("5 s"));
    EXPECT_FALSE(parse_duration("soon"));
    EXPECT_EQ(format_duration(3250_ms), "3.2 s");
    EXPECT_EQ(format_duration(80_s), "1 min 20 s");
    EXPECT_EQ(format_duration(125_min), "2 h 5 min");
}

TEST(Units, Time) {
    EXPECT_EQ(format_time(0), "1970-01-01 00:00 UTC");
    EXPECT_EQ(format_time(1'709'210'700), "2024-02-29 12:45 UTC");
}

}  // namespace
}  // namespace corelet::app
