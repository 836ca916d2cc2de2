#include "mesh/slot_choice.h"

#include <set>

#include "mesh/mesh_testing.h"
#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Map nine(std::string strategy) {
    Map map = make_map(9, [](u64 id) { return "z" + std::to_string(id % 3) + "/r" + std::to_string(id) + "/c"; });
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse("ec:2+1").value();
    spec.level = Level::kZone;
    spec.locality = find_strategy(strategy)->locality;
    spec.strategy = std::move(strategy);
    return after(map, PoolCreated{spec});
}

usize chosen(const std::vector<bool>& choice) {
    return static_cast<usize>(std::count(choice.begin(), choice.end(), true));
}

TEST(SlotChoice, AllWhileAllAreThere) {
    Map const map = nine("balanced");
    EXPECT_EQ(chosen(choice_of_slots(map, map.pools[0], CoreletId(1))), map.pools[0].current().slots());
}

TEST(SlotChoice, NotThoseWithAnAvoidedMember) {
    Map const map = nine("balanced");
    std::set<CoreletId> const avoided{CoreletId(4)};
    auto const choice = choice_of_slots(map, map.pools[0], CoreletId(1), avoided);
    EXPECT_GT(chosen(choice), choice.size() / 2);
    for (u32 slot = 0; slot < choice.size(); ++slot)
        EXPECT_EQ(choice[slot], !map.pools[0].current().position_of(slot, CoreletId(4)).has_value());
    auto const few = choice_of_slots(map, map.pools[0], CoreletId(1), {CoreletId(1), CoreletId(4), CoreletId(7)});
    EXPECT_EQ(chosen(few), few.size()) << "a whole zone: each slot has one of it";
}

TEST(SlotChoice, NotThoseWithAMemberDownUnlessThereAreNoOthers) {
    Map map = after(nine("balanced"), CoreletDown{CoreletId(4), Incarnation(1)});
    auto const choice = choice_of_slots(map, map.pools[0], CoreletId(1));
    EXPECT_GT(chosen(choice), choice.size() / 2);
    for (u32 slot = 0; slot < choice.size(); ++slot)
        EXPECT_EQ(choice[slot], !map.pools[0].current().position_of(slot, CoreletId(4)).has_value());
    for (u64 id : {1u, 7u}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    EXPECT_EQ(chosen(choice_of_slots(map, map.pools[0], CoreletId(2))), choice.size()) << "a whole zone is down";
}

TEST(SlotChoice, NotThoseWithACordonedMemberUnlessThereAreNoOthers) {
    Map const map = nine("balanced");
    Map const cordoned = after(map, CordonChanged{CoreletId(4), true});
    auto const spared = choice_of_slots(cordoned, cordoned.pools[0], CoreletId(1));
    EXPECT_GT(chosen(spared), spared.size() / 2);
    for (u32 slot = 0; slot < spared.size(); ++slot)
        EXPECT_EQ(spared[slot], !map.pools[0].current().position_of(slot, CoreletId(4)).has_value());
    // One that is down is worse than one that is to be spared.
    Map zone = map;
    for (u64 id : {4u, 7u}) zone = after(zone, CordonChanged{CoreletId(id), true});
    zone = after(zone, CoreletDown{CoreletId(1), Incarnation(1)});
    auto const choice = choice_of_slots(zone, zone.pools[0], CoreletId(2));
    for (u32 slot = 0; slot < choice.size(); ++slot)
        EXPECT_EQ(choice[slot], !zone.pools[0].current().position_of(slot, CoreletId(1)).has_value());
}

TEST(SlotChoice, NearTheOwner) {
    Map map = nine("locality");
    auto choice = choice_of_slots(map, map.pools[0], CoreletId(4));
    EXPECT_GT(chosen(choice), choice.size() / 5);
    for (u32 slot = 0; slot < choice.size(); ++slot)
        EXPECT_EQ(choice[slot], map.pools[0].current().position_of(slot, CoreletId(4)).has_value());
    // Down itself, its rows are none; its zone is.
    map = after(map, CoreletDown{CoreletId(4), Incarnation(1)});
    choice = choice_of_slots(map, map.pools[0], CoreletId(4));
    EXPECT_GT(chosen(choice), 0u);
    for (u32 slot = 0; slot < choice.size(); ++slot)
        if (choice[slot]) EXPECT_FALSE(map.pools[0].current().position_of(slot, CoreletId(4)).has_value());
    EXPECT_GT(chosen(choice_of_slots(map, map.pools[0], CoreletId(99))), 0u) << "one that the map does not know";
}

// What locality is for: a GiB of a volume in few places. 128 chunks of 8 MiB, written one after the other.
usize touched_for_a_gib(u64 corelets, const std::string& strategy, std::string_view redundancy) {
    Map map = make_map(corelets, [](u64 id) { return zone_of(id, 3); });
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse(redundancy).value();
    spec.level = Level::kChassis;
    spec.locality = find_strategy(strategy)->locality;
    spec.strategy = strategy;
    map = after(map, PoolCreated{spec});
    const Pool& pool = map.pools[0];
    auto const choice = choice_of_slots(map, pool, CoreletId(4));
    std::set<CoreletId> touched;
    u64 counter = 0;
    for (int chunk = 0; chunk < 128; ++chunk) {
        while (!choice[pool.slot({SpaceId(1), counter})]) ++counter;
        for (CoreletId id : pool.current().row(pool.slot({SpaceId(1), counter++}))) touched.insert(id);
    }
    return touched.size();
}

TEST(SlotChoice, FewerCoreletsAreTouchedForAGibibyte) {
    struct Row {
        u64 corelets;
        usize locality, balanced;
    };
    for (Row const row : {Row{9, 9, 9}, Row{30, 11, 30}, Row{100, 11, 99}}) {
        usize const near = touched_for_a_gib(row.corelets, "locality", "ec:4+2");
        usize const scattered = touched_for_a_gib(row.corelets, "balanced", "ec:4+2");
        std::string const name = std::to_string(row.corelets);
        RecordProperty("locality of " + name, static_cast<int>(near));
        RecordProperty("balanced of " + name, static_cast<int>(scattered));
        EXPECT_LE(near, row.locality) << name;
        EXPECT_GE(scattered, row.balanced) << name;
    }
}

}  // namespace
}  // namespace corelet::mesh
