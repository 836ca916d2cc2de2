#include "mesh/fits.h"

#include "mesh/mesh_testing.h"
#include "mesh/survival.h"

namespace corelet::mesh {
namespace {

using namespace testing;

PoolSpec make_spec(std::string_view redundancy) {
    PoolSpec spec;
    spec.name = "p";
    spec.redundancy = Redundancy::parse(redundancy).value();
    return spec;
}

Map over_zones(u64 corelets, u64 zones) {
    return make_map(corelets,
                    [=](u64 id) { return "z" + std::to_string(id % zones) + "/r/c" + std::to_string(id); });
}

std::string refusal(const Map& map, std::string_view redundancy, std::optional<Level> survive = {}) {
    auto const fits = check_fits(map, make_spec(redundancy), survive);
    return fits ? "" : fits.error().message;
}

TEST(Fits, TooWideSaysWhatWouldDo) {
    EXPECT_EQ(refusal(over_zones(3, 3), "rep:3"), "");
    EXPECT_EQ(refusal(over_zones(4, 2), "ec:4+2"),
              "ec:4+2 needs 6 corelets that store, this mesh has 4. Use rep:3 or ec:3+1, or add 2 more.");
    EXPECT_NE(refusal(first_map(MeshId(1)), "rep:3").find("Add corelets first"), std::string::npos);
}

// Five fragments in one zone; nine are left.
TEST(Fits, TenAndFourOverThreeZonesDoesNotSurviveOne) {
    Map const three = over_zones(15, 3);
    EXPECT_EQ(refusal(three, "ec:10+4"), "");
    EXPECT_EQ(refusal(three, "ec:10+4", Level::kCorelet), "");
    EXPECT_EQ(
        refusal(three, "ec:10+4", Level::kZone),
        "ec:10+4 over 3 zones puts 5 fragments of a chunk in one zone; without it 9 are left, and 10 are needed. "
        "Use ec:9+5 over 3 zones, or ec:10+4 over 4 zones.");
    EXPECT_EQ(refusal(three, "ec:9+5", Level::kZone), "");
    EXPECT_EQ(refusal(over_zones(16, 4), "ec:10+4", Level::kZone), "");
}

TEST(Fits, CopiesOverTwoZones) {
    EXPECT_EQ(refusal(over_zones(4, 2), "rep:3", Level::kZone), "");
    EXPECT_NE(refusal(over_zones(4, 1), "rep:3", Level::kZone).find("rep:3 over 1 zone puts 3"), std::string::npos);
    EXPECT_NE(refusal(over_zones(4, 2), "rep:1", Level::kZone).find("0 are left, and 1 are needed"),
              std::string::npos);
}

// What the arithmetic says holds for the tables that are made.
TEST(Fits, WhatIsSaidToSurviveDoes) {
    for (u64 zones : {2u, 3u, 4u, 5u}) {
        for (std::string_view redundancy : {"rep:2", "rep:3", "ec:4+2", "ec:9+5", "ec:10+4", "ec:2+1"}) {
            Map const map = over_zones(zones * 5, zones);
            PoolSpec spec = make_spec(redundancy);
            spec.level = Level::kZone;
            if (!check_fits(map, spec)) continue;
            Map const with = after(map, PoolCreated{spec});
            bool const survives = can_lose(with, with.pools[0], Level::kZone).losses >= 1;
            EXPECT_EQ(check_fits(map, spec, Level::kZone).has_value(), survives) << redundancy << " over " << zones;
        }
    }
}

TEST(Fits, OnlyDevicesOfItsClassCount) {
    Map map = over_zones(4, 2);
    for (u64 id : {11u, 12u, 13u}) {
        Corelet fast = make_corelet(id, "z0/r/c" + std::to_string(id));
        fast.device_class = "nvme";
        map = with_corelet(map, fast);
    }
    PoolSpec spec = make_spec("rep:3");
    spec.device_class = "nvme";
    ASSERT_TRUE(check_fits(map, spec));
    map = after(map, PoolCreated{spec});
    EXPECT_EQ(map.pools[0].current().members(), (std::vector{CoreletId(11), CoreletId(12), CoreletId(13)}));
    spec.redundancy = Redundancy::parse("ec:4+2").value();
    EXPECT_NE(check_fits(map, spec).error().message.find("on devices of class nvme, this mesh has 3"),
              std::string::npos);
    spec.device_class = "no such";
    EXPECT_EQ(check_pool_spec(spec).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace corelet::mesh
