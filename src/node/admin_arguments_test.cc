#include "node/admin_arguments.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace corelet {
namespace {

using Json = nlohmann::json;

TEST(AdminArguments, AreAnObjectOfBoundedSize) {
    EXPECT_TRUE(parse_arguments("").has_value());
    EXPECT_TRUE(parse_arguments("{}").has_value());
    for (const char* bad : {"[]", "3", "{", "\"x\"", "{\"a\":}", "nonsense", "{\"a\":\"\xFF\"}"})
        EXPECT_EQ(parse_arguments(bad).error().code, Code::kInvalid) << bad;
    EXPECT_FALSE(parse_arguments(std::string(10'000'000, '[')).has_value());
    EXPECT_FALSE(parse_arguments(std::string(60'000, '[')).has_value());
}

TEST(AdminArguments, OfOtherKindsCountAsMissing) {
    Json const odd{{"name", 3}, {"size_bytes", "8G"}, {"pool", Json::array()}, {"less", -1}, {"half", 0.5}};
    EXPECT_EQ(text_argument(odd, "name"), "");
    EXPECT_EQ(text_argument(odd, "pool"), "");
    EXPECT_EQ(text_argument(odd, "nothing"), "");
    for (const char* key : {"size_bytes", "less", "half", "nothing"})
        EXPECT_EQ(number_argument(odd, key), 0U) << key;
}

TEST(AdminArguments, PoolsThatMakeNoSenseAreRefused) {
    Json const good{{"name", "p"}, {"redundancy", "ec:4+2"}, {"failure_domain", "zone"}, {"min_copies", 3}};
    auto const spec = pool_wish(good);
    ASSERT_TRUE(spec) << spec.error().to_string();
    EXPECT_EQ(spec->min_copies, 3);
    auto const refused = [&](const char* key, const Json& value) {
        Json bad = good;
        bad[key] = value;
        return !pool_wish(bad).has_value();
    };
    EXPECT_TRUE(refused("name", ""));
    EXPECT_TRUE(refused("name", "a b"));
    EXPECT_TRUE(refused("redundancy", "raid5"));
    EXPECT_TRUE(refused("failure_domain", "planet"));
    EXPECT_TRUE(refused("min_copies", 4));
    EXPECT_TRUE(refused("min_copies", 257));  // not 1
    EXPECT_TRUE(refused("chunk_bytes", 1000));
}

TEST(AdminArguments, VolumesThatMakeNoSenseAreRefused) {
    EXPECT_TRUE(volume_wish({{"name", "v"}, {"pool", "p"}, {"size_bytes", 4096}}).has_value());
    for (u64 size : {u64{0}, u64{1000}, u64{65} << 40})
        EXPECT_FALSE(volume_wish({{"name", "v"}, {"pool", "p"}, {"size_bytes", size}}).has_value()) << size;
    for (const char* name : {"", "../v", "a/b", "a b"})
        EXPECT_FALSE(volume_wish({{"name", name}, {"pool", "p"}, {"size_bytes", 4096}}).has_value()) << name;
}

TEST(AdminArguments, AddressesThatCannotBeAreRefused) {
    for (const char* good : {"127.0.0.1:10809", "unix:/run/v.nbd", "tcp:[::1]:0", "localhost:1"})
        EXPECT_TRUE(attach_wish({{"name", "v"}, {"nbd", good}}).has_value()) << good;
    std::string const deep = "unix:/" + std::string(107, 'x');
    for (const std::string& bad : {std::string("nonsense"), std::string("127.0.0.1:99999"), std::string("unix:"),
                                   std::string("unix:v.nbd"), deep})
        EXPECT_EQ(attach_wish({{"name", "v"}, {"nbd", bad}}).error().code, Code::kInvalid) << bad;
}

}  // namespace
}  // namespace corelet
