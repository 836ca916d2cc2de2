// What a change moves, said beforehand, against what the same change then makes of the tables.
#include "mesh/move_plan.h"

#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace corelet::mesh::testing;

constexpr Load k_each{10, 40'960, 655'360};

SlotLoads even_loads(u32 slots, Load each = k_each) {
    return SlotLoads(slots, each);
}

std::vector<MapEvent> joining(const Corelet& corelet) {
    return {CoreletJoined{corelet}, CoreletUp{corelet.id, corelet.incarnation, {}}};
}

// By going through the cells of two tables of as many slots.
u64 cells_gained(const SlotTable& before, const SlotTable& after, CoreletId id) {
    u64 gained = 0;
    for (u32 slot = 0; slot < after.slots(); ++slot)
        for (unsigned p = 0; p < after.width(); ++p)
            gained += after.at(slot, p) == id && before.at(slot % before.slots(), p) != id ? 1U : 0U;
    return gained;
}

MovePlan plan_of(const Map& before, const std::vector<MapEvent>& events, Load each = k_each) {
    auto const during = apply_events(before, events);
    EXPECT_TRUE(during.has_value());
    Map const after = settled(*during);
    PoolId const pool = before.pools.front().id;
    return plan_moves(before, after, {{pool, even_loads(slots_to_count(before, after, pool), each)}});
}

TEST(MovePlan, ANewcomerTakesItsShareAndNothingElseMoves) {
    Map const before = with_pool(make_map(6), "ec:2+1", Level::kCorelet);
    Corelet const fresh = make_corelet(7, "z/r/c7");
    MovePlan const plan = plan_of(before, joining(fresh));
    Map const real = all_clean(with_corelet(before, fresh));
    u64 const gained = cells_gained(before.pools[0].current(), real.pools[0].current(), fresh.id);
    ASSERT_GT(gained, 0U);
    EXPECT_EQ(plan.in.at(fresh.id).fragments, gained * k_each.fragments);
    EXPECT_EQ(plan.moved.bytes, gained * k_each.bytes) << "nobody else takes anything";
    EXPECT_EQ(plan.moved.room, gained * k_each.room);
    EXPECT_EQ(plan.rebuilt, Load{});
    EXPECT_EQ(plan.homeless, Load{});
    u64 const all = u64{before.pools[0].current().slots()} * 3 * k_each.bytes;
    EXPECT_LE(plan.moved.bytes * 70, all * 11) << "1.1/n of the data";
}

// Who it will be is not known before its device is formatted; how much it takes is, all the same.
TEST(MovePlan, AnotherIdentityTakesAsMuch) {
    Map const before = with_pool(make_map(8), "ec:4+2", Level::kCorelet);
    u64 const one = plan_of(before, joining(make_corelet(900, "z/r/c9"))).moved.bytes;
    for (u64 id : {11U, 5000U, 123'456U}) {
        u64 const other = plan_of(before, joining(make_corelet(id, "z/r/c9"))).moved.bytes;
        EXPECT_LE(std::max(one, other) * 10, std::min(one, other) * 11) << id;
    }
}

TEST(MovePlan, ADrainHandsOnEverythingItHas) {
    Map const before = with_pool(make_map(6), "ec:2+1", Level::kCorelet);
    CoreletId const leaving(3);
    MovePlan const plan = plan_of(before, {DutyChanged{leaving, Duty::kDrain}});
    u64 const held = before.pools[0].current().places_of(leaving).size();
    EXPECT_EQ(plan.out.at(leaving).fragments, held * k_each.fragments);
    EXPECT_EQ(plan.rebuilt, Load{}) << "it is there to be copied from";
    Load by_flow;
    for (auto const& [ends, load] : plan.flows)
        if (ends.first == leaving) by_flow += load;
    EXPECT_EQ(by_flow, plan.out.at(leaving));
    EXPECT_FALSE(plan.in.contains(leaving));
}

TEST(MovePlan, WhatIsLostIsMadeAgainOfOthers) {
    Map const before = with_pool(make_map(6), "ec:2+1", Level::kCorelet);
    CoreletId const lost(3);
    MovePlan const plan = plan_of(before, {CoreletOut{lost, false}});
    u64 const held = before.pools[0].current().places_of(lost).size();
    EXPECT_GE(plan.rebuilt.fragments, held * k_each.fragments);
    for (auto const& [ends, load] : plan.flows) EXPECT_NE(ends.first, lost);
}

TEST(MovePlan, WithTooFewLeftPlacesBecomeHoles) {
    Map const before = with_pool(make_map(3), "ec:2+1", Level::kCorelet);
    MovePlan const plan = plan_of(before, {CoreletOut{CoreletId(2), false}});
    EXPECT_EQ(plan.homeless.fragments, u64{before.pools[0].current().slots()} * k_each.fragments);
    EXPECT_EQ(plan.moved, Load{});
}

// Beyond a power of two slots are split: both halves are counted, and only what really moves.
TEST(MovePlan, SplitSlotsMoveWhatTheirHalvesHold) {
    Map const before = with_pool(make_map(8), "ec:2+1", Level::kCorelet);
    Corelet const fresh = make_corelet(9, "z/r/c9");
    Map const after = with_corelet(before, fresh);
    ASSERT_EQ(after.pools[0].current().slots(), 2 * before.pools[0].current().slots());
    ASSERT_EQ(slots_to_count(before, after, before.pools[0].id), after.pools[0].current().slots());
    MovePlan const plan = plan_of(before, joining(fresh));
    u64 const gained = cells_gained(before.pools[0].current(), after.pools[0].current(), fresh.id);
    EXPECT_EQ(plan.in.at(fresh.id).fragments, gained * k_each.fragments);
    u64 const all = u64{after.pools[0].current().slots()} * 3 * k_each.bytes;
    EXPECT_LE(plan.moved.bytes * 90, all * 11);
}

TEST(MovePlan, EmptySlotsMoveNothing) {
    Map const before = with_pool(make_map(6), "ec:2+1", Level::kCorelet);
    MovePlan const plan = plan_of(before, {DutyChanged{CoreletId(1), Duty::kDrain}}, Load{});
    EXPECT_TRUE(plan.flows.empty());
    EXPECT_EQ(plan.moved, Load{});
}

// At the bound of tables a move waits; settled, it has been made too.
TEST(MovePlan, SettledMeansThatWaitingMovesAreMade) {
    Map map = with_pool(make_map(4), "ec:2+1", Level::kCorelet);
    for (u64 id = 5; id <= 16; ++id) map = with_corelet(map, make_corelet(id, "z/r/c" + std::to_string(id)));
    ASSERT_TRUE(map.pools[0].move_wanted);
    ASSERT_FALSE(map.pools[0].current().has(CoreletId(16)));
    Map const done = settled(map);
    EXPECT_EQ(done.pools[0].tables.size(), 1U);
    EXPECT_FALSE(done.pools[0].move_wanted);
    EXPECT_TRUE(done.pools[0].current().has(CoreletId(16)));
    EXPECT_TRUE(check_map(done).has_value());
}

TEST(MovePlan, TheFirstRefusedEventIsTheAnswer) {
    Map const map = make_map(2);
    std::vector<MapEvent> const events{CordonChanged{CoreletId(1), true}, DutyChanged{CoreletId(77), Duty::kDrain}};
    auto const next = apply_events(map, events);
    ASSERT_FALSE(next.has_value());
    EXPECT_EQ(next.error().code, Code::kNotFound);
}

TEST(MovePlan, TheSlowestSaysWhenItIsDone) {
    MovePlan plan;
    CoreletId const from(1), a(2), b(3);
    for (CoreletId to : {a, b}) {
        plan.flows[{from, to}] = {10, 1'000'000, 0};
        plan.in[to] = {10, 1'000'000, 0};
    }
    plan.out[from] = {20, 2'000'000, 0};
    EXPECT_EQ(time_for(plan, [](CoreletId) { return u64{100'000}; }), 20_s) << "one hands on what two take in";
    EXPECT_EQ(time_for(plan, [&](CoreletId id) { return id == b ? u64{10'000} : u64{1'000'000}; }), 100_s);
    EXPECT_EQ(time_for(MovePlan{}, [](CoreletId) { return u64{0}; }), Duration{});
}

}  // namespace
}  // namespace corelet::mesh
