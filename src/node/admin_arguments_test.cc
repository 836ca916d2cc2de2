#include "node/admin_arguments.h"
#include "base/json.h"

#include <gtest/gtest.h>

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

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

TEST(AdminArguments, ACoreletIsNamedByItsId) {
    mesh::Map const map = mesh::testing::make_map(3);
    Json const arguments{{"id", to_string(CoreletId(2))}, {"at", to_string(CoreletId(9))}, {"odd", 2}};
    EXPECT_EQ(corelet_argument(map, arguments, "id"), CoreletId(2));
    auto const absent = corelet_argument(map, arguments, "at");
    ASSERT_FALSE(absent.has_value());
    EXPECT_EQ(absent.error().code, Code::kNotFound);
    EXPECT_NE(absent.error().message.find(to_string(CoreletId(9))), std::string::npos) << "it says which";
    for (const char* key : {"odd", "nothing"})
        EXPECT_EQ(corelet_argument(map, arguments, key).error().code, Code::kNotFound) << key;
}

TEST(AdminArguments, PoolsThatMakeNoSenseAreRefused) {
    Json const good{{"name", "p"}, {"redundancy", "ec:4+2"}, {"failure_domain", "zone"}, {"min_copies", 3}};
    auto const spec = pool_wish(good);
    ASSERT_TRUE(spec) << spec.error().to_string();
    EXPECT_EQ(spec->spec.min_copies, 3);
    EXPECT_EQ(spec->spec.strategy, "balanced");
    EXPECT_FALSE(spec->survive.has_value());
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

TEST(AdminArguments, ProfilesAndQuorums) {
    auto const datacenter = pool_wish({{"name", "p"}, {"profile", "datacenter"}});
    ASSERT_TRUE(datacenter) << datacenter.error().to_string();
    EXPECT_EQ(datacenter->spec.redundancy.to_string(), "ec:10+4");
    EXPECT_EQ(datacenter->spec.write_quorum, 11);
    EXPECT_EQ(datacenter->spec.read_quorum, 10);
    EXPECT_EQ(datacenter->spec.repair_threshold, 12);
    auto const changed = pool_wish({{"name", "p"}, {"profile", "datacenter"}, {"write_quorum", 12}});
    ASSERT_TRUE(changed) << "what is named beside a profile counts more";
    EXPECT_EQ(changed->spec.write_quorum, 12);
    auto const own =
        pool_wish({{"name", "p"}, {"redundancy", "ec:4+2"}, {"write_quorum", 5}, {"repair_threshold", 4}});
    ASSERT_TRUE(own) << own.error().to_string();
    EXPECT_EQ(own->spec.write_quorum, 5);
    EXPECT_EQ(own->spec.read_quorum, 0);
    auto const refusal = [](Json request) {
        request["name"] = "p";
        auto const made = pool_wish(request);
        return made ? std::string("it was made") : made.error().message;
    };
    EXPECT_NE(refusal({{"profile", "garage"}}).find("there is datacenter"), std::string::npos);
    EXPECT_NE(refusal({{"profile", "datacenter"}, {"redundancy", "ec:4+2"}}).find("leave --redundancy out"),
              std::string::npos);
    Json const narrow{{"redundancy", "ec:4+2"}};
    for (auto const& [key, value] : {std::pair{"write_quorum", 4},
                                     {"write_quorum", 7},
                                     {"read_quorum", 3},
                                     {"read_quorum", 7},
                                     {"repair_threshold", 3},
                                     {"repair_threshold", 6},
                                     {"write_quorum", 261}}) {
        Json bad = narrow;
        bad[key] = value;
        EXPECT_NE(refusal(bad).find(std::string(key) + " is from "), std::string::npos) << key << " " << value;
    }
    EXPECT_NE(refusal({{"redundancy", "rep:1"}, {"repair_threshold", 1}}).find("nothing can be repaired"),
              std::string::npos);
}

TEST(AdminArguments, WhatIsNotNamedStaysAsThePoolHasIt) {
    mesh::Pool pool;
    pool.spec = pool_wish({{"name", "p"},
                           {"redundancy", "ec:4+2"},
                           {"write_quorum", 5},
                           {"max_per", {{"zone", 2}, {"rack", 1}}},
                           {"device_class", "ssd"},
                           {"min_copies", 2}})
                    .value()
                    .spec;
    EXPECT_EQ(pool_change_wish(pool, Json::object()).value().spec, pool.spec);
    mesh::PoolSpec wanted = pool.spec;
    wanted.strategy = "zone-aware";
    wanted.level = mesh::Level::kZone;
    wanted.caps[static_cast<usize>(mesh::Level::kRack)] = 0;
    wanted.device_class.clear();
    wanted.write_quorum = 0;
    wanted.min_copies = 0;
    wanted.repair_threshold = 5;
    Json const change{{"strategy", "zone-aware"}, {"failure_domain", "zone"}, {"max_per", {{"rack", 0}}},
                      {"device_class", ""},       {"write_quorum", 0},        {"min_copies", 0},
                      {"repair_threshold", 5},    {"survive", "rack"}};
    auto const wish = pool_change_wish(pool, change);
    ASSERT_TRUE(wish.has_value()) << wish.error().to_string();
    EXPECT_EQ(wish->spec, wanted);
    EXPECT_EQ(wish->survive, mesh::Level::kRack);
    for (const Json& bad : {Json{{"redundancy", "rep:2"}}, Json{{"profile", "datacenter"}},
                            Json{{"chunk_bytes", 262144}}, Json{{"write_quorum", 3}}, Json{{"strategy", "hope"}},
                            Json{{"max_per", {{"zone", 99}}}}, Json{{"min_copies", 4}}})
        EXPECT_EQ(pool_change_wish(pool, bad).error().code, Code::kInvalid) << bad.dump();
    EXPECT_NE(pool_change_wish(pool, Json{{"redundancy", "rep:2"}}).error().message.find("Make another pool"),
              std::string::npos);
}

TEST(AdminArguments, NeighboursStayTogetherWhateverTheStrategy) {
    mesh::Pool pool;
    pool.spec = pool_wish({{"name", "p"}, {"redundancy", "rep:2"}, {"strategy", "locality"}}).value().spec;
    ASSERT_GT(pool.spec.locality, 0);
    auto const wish = pool_change_wish(pool, Json{{"strategy", "balanced"}});
    ASSERT_TRUE(wish.has_value());
    EXPECT_EQ(wish->spec.strategy, "balanced");
    EXPECT_EQ(wish->spec.locality, pool.spec.locality);
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
