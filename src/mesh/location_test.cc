#include "mesh/location.h"

#include <gtest/gtest.h>

namespace corelet::mesh {
namespace {

TEST(Location, ParsesOneToThreeParts) {
    EXPECT_EQ(Location::parse("a/b/c").value(), (Location{"a", "b", "c"}));
    EXPECT_EQ(Location::parse("a/b").value(), (Location{"a", "b", "default"}));
    EXPECT_EQ(Location::parse("a").value(), (Location{"a", "default", "default"}));
    EXPECT_EQ(Location::parse("a/b/c").value().to_string(), "a/b/c");
}

TEST(Location, RefusesTheRest) {
    for (const char* text : {"", "/", "a/", "a//c", "a/b/c/d", "a b", "ä", "a/b/c/"}) {
        EXPECT_EQ(Location::parse(text).error().code, Code::kInvalid) << text;
    }
    EXPECT_FALSE(Location::parse(std::string(65, 'x')).has_value());
    EXPECT_TRUE(Location::parse(std::string(64, 'x')).has_value());
}

TEST(Location, DomainsAreWholePaths) {
    Location const location{"a", "b", "c"};
    EXPECT_EQ(location.domain(Level::kZone), "a");
    EXPECT_EQ(location.domain(Level::kRack), "a/b");
    EXPECT_EQ(location.domain(Level::kChassis), "a/b/c");
}

TEST(Level, NamesRoundTrip) {
    for (Level level : {Level::kCorelet, Level::kChassis, Level::kRack, Level::kZone}) {
        EXPECT_EQ(parse_level(level_name(level)), level);
    }
    EXPECT_EQ(parse_level("host"), std::nullopt);
}

}  // namespace
}  // namespace corelet::mesh
