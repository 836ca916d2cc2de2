// What of a pool may change while it holds chunks, and what moves by it.
#include "mesh/mesh_testing.h"
#include "mesh/move_plan.h"
#include "mesh/survival.h"

namespace corelet::mesh {
namespace {

using namespace testing;

// Nine corelets over three zones, half of them of class "ssd".
Map of_two_classes(std::string_view redundancy = "ec:2+1", std::string strategy = "random") {
    Map map = first_map(MeshId(0xC0DE));
    for (u64 id = 1; id <= 9; ++id) {
        Corelet corelet = make_corelet(id, zone_of(id, 3));
        corelet.device_class = id % 2 == 0 ? "hdd" : "ssd";
        map = with_corelet(map, corelet);
    }
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = Redundancy::parse(redundancy).value();
    spec.level = Level::kCorelet;
    spec.strategy = std::move(strategy);
    return after(map, PoolCreated{spec});
}

Result<Map> changed(const Map& map, const std::function<void(PoolSpec&)>& edit,
                    std::optional<Level> survive = std::nullopt) {
    PoolSpec spec = map.pools[0].spec;
    edit(spec);
    return apply_event(map, PoolChanged{map.pools[0].id, spec, survive, map.pools[0].spec});
}

std::string refusal(const Map& map, const std::function<void(PoolSpec&)>& edit,
                    std::optional<Level> survive = std::nullopt) {
    auto const next = changed(map, edit, survive);
    return next ? std::string("it was changed") : next.error().message;
}

u32 most_in_a_zone(const Map& map) {
    const SlotTable& table = map.pools[0].current();
    u32 most = 0;
    for (u32 slot = 0; slot < table.slots(); ++slot) {
        std::map<std::string, u32> zones;
        for (CoreletId id : table.row(slot)) most = std::max(most, ++zones[map.find(id)->location.zone]);
    }
    return most;
}

TEST(PoolChange, ACapMovesWhatExceedsItAndNoMore) {
    Map const map = of_two_classes();
    ASSERT_GT(most_in_a_zone(map), 1U) << "by lot";
    auto const next = changed(map, [](PoolSpec& spec) { spec.caps[static_cast<usize>(Level::kZone)] = 1; });
    ASSERT_TRUE(next.has_value()) << next.error().to_string();
    EXPECT_EQ(next->epoch, map.epoch.next());
    EXPECT_EQ(most_in_a_zone(*next), 1U);
    EXPECT_EQ(next->pools[0].tables.size(), 2U) << "the former one stays until all have moved";
    EXPECT_EQ(next->pools[0].tables[1]->hash(), map.pools[0].current().hash());
    u64 moved = 0, crowded = 0;
    const SlotTable &before = map.pools[0].current(), &now = next->pools[0].current();
    for (u32 slot = 0; slot < now.slots(); ++slot) {
        std::map<std::string, u32> zones;
        for (unsigned p = 0; p < now.width(); ++p) {
            moved += now.at(slot, p) != before.at(slot, p);
            crowded += ++zones[map.find(before.at(slot, p))->location.zone] > 1;
        }
    }
    EXPECT_GE(moved, crowded);
    EXPECT_LE(moved, crowded + crowded / 10) << "of " << crowded << " that had to";
    EXPECT_TRUE(check_map(*next).has_value());
}

TEST(PoolChange, AnotherDeviceClassTakesItAll) {
    Map const map = of_two_classes("rep:2");
    auto const next = changed(map, [](PoolSpec& spec) { spec.device_class = "ssd"; });
    ASSERT_TRUE(next.has_value()) << next.error().to_string();
    for (CoreletId id : next->pools[0].current().members()) EXPECT_EQ(next->find(id)->device_class, "ssd");
    EXPECT_EQ(holes(next->pools[0].current()), 0U);
    auto const loads = SlotLoads(next->pools[0].current().slots(), Load{1, 10, 10});
    MovePlan const plan = plan_moves(map, settled(*next), {{map.pools[0].id, loads}});
    EXPECT_GT(plan.moved.fragments, 0U);
    EXPECT_EQ(plan.rebuilt, Load{}) << "whoever has it is there to be copied from";
}

TEST(PoolChange, QuorumsMoveNothing) {
    Map const map = all_clean(of_two_classes("ec:4+2"));
    auto const next = changed(map, [](PoolSpec& spec) {
        spec.write_quorum = 5;
        spec.read_quorum = 5;
        spec.repair_threshold = 4;
        spec.min_copies = 3;
    });
    ASSERT_TRUE(next.has_value());
    EXPECT_EQ(next->pools[0].tables.size(), 1U);
    EXPECT_EQ(next->pools[0].current().hash(), map.pools[0].current().hash());
    EXPECT_EQ(next->pools[0].spec.write_quorum, 5);
    EXPECT_EQ(after(*next, PoolChanged{next->pools[0].id, next->pools[0].spec}).epoch, next->epoch)
        << "said twice it changes nothing";
}

// Whoever takes a volume over asks for what may be behind, and counts it by the least that a put ever left.
TEST(PoolChange, ASmallerWriteQuorumIsRemembered) {
    Map map = of_two_classes("ec:4+2");
    EXPECT_FALSE(map.pools[0].may_be_behind());
    auto const quorum = [&](u8 writes) {
        map = changed(map, [&](PoolSpec& spec) { spec.write_quorum = writes; }).value();
    };
    quorum(5);
    EXPECT_EQ(map.pools[0].least_quorum, 0) << "it had none before";
    EXPECT_EQ(map.pools[0].put_least(), 5U);
    quorum(6);
    EXPECT_FALSE(map.pools[0].spec.puts_behind());
    EXPECT_TRUE(map.pools[0].may_be_behind());
    EXPECT_EQ(map.pools[0].put_least(), 5U);
    quorum(0);
    EXPECT_TRUE(map.pools[0].may_be_behind());
    EXPECT_EQ(map.pools[0].put_least(), 5U);
}

TEST(PoolChange, WhatChunksWereWrittenByStays) {
    Map const map = of_two_classes();
    EXPECT_NE(
        refusal(map, [](PoolSpec& s) { s.redundancy = Redundancy{4, 2}; }).find("redundancy of a pool is fixed"),
        std::string::npos);
    EXPECT_NE(refusal(map, [](PoolSpec& s) { s.chunk_bytes = k_chunk_bytes_min; }).find("chunk size"),
              std::string::npos);
    EXPECT_NE(refusal(map, [](PoolSpec& s) { s.name = "other"; }).find("name"), std::string::npos);
    EXPECT_NE(refusal(map, [](PoolSpec& s) { s.locality = 6; }).find("strategy locality"), std::string::npos);
    EXPECT_NE(refusal(map, [](PoolSpec& s) { s.write_quorum = 2; }).find("write_quorum"), std::string::npos);
    EXPECT_EQ(apply_event(map, PoolChanged{PoolId(9), map.pools[0].spec}).error().code, Code::kNotFound);
}

TEST(PoolChange, WhatTheMeshDoesNotHoldOrSurviveIsRefused) {
    Map const map = of_two_classes("ec:4+2");
    EXPECT_NE(refusal(map, [](PoolSpec& s) { s.device_class = "ssd"; }).find("needs 6 corelets"), std::string::npos)
        << "there are five";
    EXPECT_NE(refusal(
                  map, [](PoolSpec& s) { s.caps[static_cast<usize>(Level::kZone)] = 3; }, Level::kZone)
                  .find("puts 3 fragments of a chunk in one zone"),
              std::string::npos);
    EXPECT_TRUE(changed(map, [](PoolSpec& s) { s.level = Level::kZone; }, Level::kZone).has_value());
}

TEST(PoolChange, NobodyOverwritesAnothersChange) {
    Map const map = of_two_classes();
    Map const next = changed(map, [](PoolSpec& spec) { spec.read_quorum = 3; }).value();
    PoolSpec mine = map.pools[0].spec;
    mine.min_copies = 2;
    auto const late = apply_event(next, PoolChanged{map.pools[0].id, mine, std::nullopt, map.pools[0].spec});
    ASSERT_FALSE(late.has_value());
    EXPECT_EQ(late.error().code, Code::kConflict);
}

// At that bound places of the lost alone may be filled: no table that is kept would lead to the rest.
TEST(PoolChange, WaitsWhileThePoolKeepsAllTheTablesItMay) {
    Map map = of_two_classes();
    for (u8 turn = 0; map.pools[0].tables.size() < k_tables_max; ++turn) {
        ASSERT_LT(turn, 40) << map.pools[0].tables.size();
        map = changed(map, [&](PoolSpec& spec) {
                  spec.strategy = turn % 2 == 0 ? "balanced" : "zone-aware";
                  spec.device_class = turn % 3 == 0 ? "ssd" : "";
              }).value();
    }
    auto const one_more = changed(map, [](PoolSpec& s) { s.device_class = s.device_class.empty() ? "ssd" : ""; });
    ASSERT_FALSE(one_more.has_value());
    EXPECT_EQ(one_more.error().code, Code::kUnavailable);
    EXPECT_TRUE(changed(map, [](PoolSpec& s) { s.read_quorum = 3; }).has_value()) << "that moves nothing";
}

}  // namespace
}  // namespace corelet::mesh
