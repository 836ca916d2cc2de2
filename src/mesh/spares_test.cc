#include "mesh/spares.h"

#include "mesh/placement_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Corelet make_spare(u64 id, std::string_view location, u64 gib = 100, std::string device_class = {}) {
    Corelet spare = make_corelet(id, location, Role::kSpare);
    spare.capacity_bytes = gib * k_gib;
    spare.device_class = std::move(device_class);
    return spare;
}

TEST(Spares, HoldNothingUntilALossThenExactlyWhatWasLost) {
    Map map = with_pool(make_map(6), "ec:3+2");
    map = with_corelet(map, make_spare(50, "z/r/c50"));
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(50)));
    EXPECT_EQ(map.pools[0].tables.size(), 1u) << "its coming moves nothing";
    SlotTable const before = map.pools[0].current();
    auto const lost = before.places_of(CoreletId(3));
    map = after(map, CoreletDown{CoreletId(3), Incarnation(1)});
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(50))) << "down may come back";
    map = after(map, CoreletOut{CoreletId(3)});
    EXPECT_EQ(map.pools[0].current().places_of(CoreletId(50)), lost);
    EXPECT_EQ(moved(before, map.pools[0].current()), lost.size());
    EXPECT_EQ(map.find(CoreletId(50))->role, Role::kStorage);
    // It is no spare any more: the next loss goes to the rest.
    map = after(map, CoreletOut{CoreletId(4)});
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(4)));
    EXPECT_EQ(map.pools[0].current().members().size(), 5u);
}

TEST(Spares, TheNearestWithRoomEnoughAndTheSameClass) {
    Map map = make_map(3, [](u64 id) { return "z" + std::to_string(id) + "/r/c"; });
    Corelet lost = *map.find(CoreletId(2));
    EXPECT_EQ(choose_spare(map, lost), nullptr);
    map = with_corelet(map, make_spare(60, "z2/r/other", 100, "ssd"));
    EXPECT_EQ(choose_spare(map, lost), nullptr) << "another class";
    map = with_corelet(map, make_spare(50, "z1/r/c", 400));
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(50));
    map = with_corelet(map, make_spare(51, "z2/r9/c", 50));
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(51)) << "in its zone";
    map = with_corelet(map, make_spare(52, "z2/r8/c", 300));
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(52)) << "large enough";
    map = with_corelet(map, make_spare(53, "z2/r7/c", 120));
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(53)) << "and no larger than need be";
    map = with_corelet(map, make_spare(54, "z2/r/x", 100));
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(54)) << "in its rack";
    map = after(map, CoreletDown{CoreletId(54), Incarnation(1)});
    EXPECT_EQ(choose_spare(map, lost)->id, CoreletId(53));
}

TEST(Spares, InAnotherZoneItDoesNotBreakTheCap) {
    Map map = make_map(6, [](u64 id) { return zone_of(id, 3); });
    map = with_pool(map, "ec:4+2", Level::kZone);
    map = with_corelet(map, make_spare(50, "z3/r/c"));
    map = after(map, CoreletOut{CoreletId(1)});
    for (u32 slot = 0; slot < map.pools[0].current().slots(); ++slot) {
        std::map<std::string, int> zones;
        for (CoreletId id : map.pools[0].current().row(slot)) ++zones[map.find(id)->location.zone];
        for (auto const& [zone, count] : zones) EXPECT_LE(count, 2) << zone;
    }
}

}  // namespace
}  // namespace corelet::mesh
