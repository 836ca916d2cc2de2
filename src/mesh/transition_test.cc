#include "mesh/transition.h"

#include "base/prng.h"
#include "mesh/mesh_testing.h"
#include "mesh/weight.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Code error_of(const Map& map, const MapEvent& event) {
    auto const next = apply_event(map, event);
    return next ? Code{} : next.error().code;
}

TEST(Transition, JoinsAndComesUp) {
    Map map = first_map(MeshId(1));
    map = after(map, CoreletJoined{make_corelet(7)});
    EXPECT_EQ(map.epoch, MapEpoch(2));
    EXPECT_EQ(map.find(CoreletId(7))->state(), State::kJoining);
    EXPECT_EQ(map.find(CoreletId(7))->weight, default_weight(100 * k_gib));
    EXPECT_EQ(error_of(map, CoreletJoined{make_corelet(7)}), Code::kExists);
    map = after(map, CoreletUp{CoreletId(7), Incarnation(1), {}});
    EXPECT_EQ(map.find(CoreletId(7))->state(), State::kUp);
    EXPECT_EQ(error_of(map, CoreletUp{CoreletId(8), Incarnation(1), {}}), Code::kNotFound);
}

TEST(Transition, WhatIsSaidTwiceChangesNothing) {
    Map const map = make_map(3);
    EXPECT_EQ(after(map, CoreletUp{CoreletId(1), Incarnation(1), {}}).epoch, map.epoch);
    Map const down = after(map, CoreletDown{CoreletId(1), Incarnation(1)});
    EXPECT_EQ(down.epoch, map.epoch.next());
    EXPECT_EQ(after(down, CoreletDown{CoreletId(1), Incarnation(1)}).epoch, down.epoch);
}

TEST(Transition, OldIncarnationsAreFenced) {
    Map map = make_map(3);
    map = after(map, CoreletUp{CoreletId(1), Incarnation(5), {}});
    EXPECT_EQ(map.find(CoreletId(1))->incarnation, Incarnation(5));
    EXPECT_EQ(error_of(map, CoreletUp{CoreletId(1), Incarnation(4), {}}), Code::kFenced);
    EXPECT_EQ(error_of(map, CoreletDown{CoreletId(1), Incarnation(4)}), Code::kFenced);
    map = after(map, CoreletOut{CoreletId(1), false});
    EXPECT_EQ(error_of(map, CoreletUp{CoreletId(1), Incarnation(5), {}}), Code::kFenced);
    map = after(map, CoreletUp{CoreletId(1), Incarnation(6), {}});
    EXPECT_TRUE(map.is_up(CoreletId(1)));
}

TEST(Transition, DrainSurvivesARestart) {
    Map map = after(make_map(3), DutyChanged{CoreletId(1), Duty::kDrain});
    EXPECT_EQ(map.find(CoreletId(1))->state(), State::kDraining);
    map = after(map, CoreletDown{CoreletId(1), Incarnation(1)});
    EXPECT_EQ(map.find(CoreletId(1))->state(), State::kDown);
    map = after(map, CoreletUp{CoreletId(1), Incarnation(2), {}});
    EXPECT_EQ(map.find(CoreletId(1))->state(), State::kDraining);
}

TEST(Transition, DownMovesNothingOutDoes) {
    Map map = all_clean(with_pool(make_map(6), "rep:3"));
    u64 const before = map.pools[0].current().hash();
    map = after(map, CoreletDown{CoreletId(4), Incarnation(1)});
    EXPECT_EQ(map.pools[0].current().hash(), before);
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
    map = after(map, CoreletOut{CoreletId(4), true});
    EXPECT_EQ(map.pools[0].tables.size(), 2u);
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(4)));
    EXPECT_EQ(map.pools[0].current().epoch(), map.epoch);
    EXPECT_EQ(holes(map.pools[0].current()), 0u);
}

TEST(Transition, AutomaticOutStopsAtAThird) {
    Map map = make_map(8);
    EXPECT_EQ(error_of(map, CoreletOut{CoreletId(1), true}), Code::kUnavailable) << "not down";
    for (u64 id : {1, 2, 3}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    EXPECT_EQ(error_of(map, CoreletOut{CoreletId(1), true}), Code::kUnavailable) << "3 of 8 are more than a third";
    map = after(map, CoreletUp{CoreletId(3), Incarnation(1), {}});
    map = after(map, CoreletOut{CoreletId(1), true});
    map = after(map, CoreletOut{CoreletId(2), true});
    // Six are left; two of them down are no more than a third.
    for (u64 id : {3, 4}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    map = after(map, CoreletOut{CoreletId(3), true});
    // By hand anything goes.
    map = after(map, CoreletOut{CoreletId(5), false});
    EXPECT_EQ(map.find(CoreletId(5))->state(), State::kOut);
}

TEST(Transition, WhoWasReplacedWhereItStoodIsNotCutOff) {
    Map map = make_map(3);
    for (u64 id : {1, 2}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    for (u64 id : {1, 2}) map = with_corelet(map, make_corelet(10 + id));
    EXPECT_EQ(error_of(map, CoreletOut{CoreletId(1), true}), Code::kUnavailable) << "2 of 5 are more than a third";
    for (u64 id : {1, 2}) {
        map = after(map, CoreletUp{CoreletId(10 + id), Incarnation(1), map.find(CoreletId(id))->addresses});
    }
    for (u64 id : {1, 2}) map = after(map, CoreletOut{CoreletId(id), true});
}

TEST(Transition, WitnessesAndGatewaysDoNotCountAndHoldNothing) {
    Map map = make_map(3);
    map = with_corelet(map, make_corelet(20, "z/r/w", Role::kWitness));
    map = with_corelet(map, make_corelet(21, "z/r/g", Role::kGateway));
    map = with_pool(map, "rep:3");
    EXPECT_EQ(map.pools[0].current().members().size(), 3u);
    for (u64 id : {1, 2}) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
    EXPECT_EQ(error_of(map, CoreletOut{CoreletId(1), true}), Code::kUnavailable);
}

TEST(Transition, TablesStayUntilEverybodyIsClean) {
    Map map = all_clean(with_pool(make_map(4), "rep:2"));
    ASSERT_EQ(map.pools[0].tables.size(), 1u);
    map = with_corelet(map, make_corelet(5, "z/r/c5"));
    const SlotTable& table = map.pools[0].current();
    MapEpoch const epoch = table.epoch();
    u64 const hash = table.hash();
    PoolId const pool = map.pools[0].id;
    EXPECT_EQ(error_of(map, SlotsClean{pool, CoreletId(1), epoch, hash + 1}), Code::kStaleMap);
    EXPECT_EQ(error_of(map, SlotsClean{pool, CoreletId(1), epoch.next(), hash}), Code::kStaleMap);
    EXPECT_EQ(error_of(map, SlotsClean{pool, CoreletId(77), epoch, hash}), Code::kNotFound);
    for (u64 id = 1; id <= 5; ++id) {
        EXPECT_EQ(map.pools[0].tables.size(), 2u) << id;
        map = after(map, SlotsClean{pool, CoreletId(id), epoch, hash});
    }
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
    EXPECT_TRUE(map.pools[0].clean.empty());
}

TEST(Transition, FormerMembersAreWaitedForTheOutAreNot) {
    Map map = all_clean(with_pool(make_map(5), "rep:2"));
    map = after(map, DutyChanged{CoreletId(1), Duty::kDrain});
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(1)));
    map = all_clean(map);  // those that are up
    EXPECT_EQ(map.pools[0].tables.size(), 2u) << "2 is down, not out";
    EXPECT_FALSE(is_drained(map, CoreletId(1)));
    map = after(map, CoreletOut{CoreletId(2), true});
    map = all_clean(map);
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
    EXPECT_TRUE(is_drained(map, CoreletId(1)));
    map = after(map, CoreletRemoved{CoreletId(1), false});
    EXPECT_EQ(map.find(CoreletId(1)), nullptr);
}

// A former member may still have puts under way that it admitted by the old table.
TEST(Transition, OldTablesStayUntilFormerMembersReportToo) {
    Map map = all_clean(with_pool(make_map(5), "rep:2"));
    map = after(map, DutyChanged{CoreletId(1), Duty::kDrain});
    const SlotTable& table = map.pools[0].current();
    MapEpoch const epoch = table.epoch();
    u64 const hash = table.hash();
    for (u64 id = 2; id <= 5; ++id) map = after(map, SlotsClean{map.pools[0].id, CoreletId(id), epoch, hash});
    EXPECT_EQ(map.pools[0].tables.size(), 2u);
    map = after(map, SlotsClean{map.pools[0].id, CoreletId(1), epoch, hash});
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
}

TEST(Transition, TheDownGetNoNewPlaces) {
    Map map = all_clean(with_pool(make_map(6), "rep:3"));
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    auto const places = map.pools[0].current().places_of(CoreletId(2));
    map = after(map, CoreletOut{CoreletId(5), false});
    EXPECT_EQ(map.pools[0].current().places_of(CoreletId(2)), places);
    EXPECT_EQ(holes(map.pools[0].current()), 0u);
    map = after(map, CoreletUp{CoreletId(2), Incarnation(1), {}});
    EXPECT_GT(map.pools[0].current().places_of(CoreletId(2)).size(), places.size())
        << "it takes its share when it is back";
}

TEST(Transition, ANewerCleanReportCoversOlderTables) {
    Map map = all_clean(with_pool(make_map(4), "rep:2"));
    map = with_corelet(map, make_corelet(5, "z/r/c5"));
    MapEpoch const second = map.pools[0].current().epoch();
    u64 const second_hash = map.pools[0].current().hash();
    map = with_corelet(map, make_corelet(6, "z/r/c6"));
    ASSERT_EQ(map.pools[0].tables.size(), 3u);
    // All that the first two tables name are clean under the second: the first goes, 6 need not have said anything.
    for (u64 id = 1; id <= 5; ++id)
        map = after(map, SlotsClean{map.pools[0].id, CoreletId(id), second, second_hash});
    ASSERT_EQ(map.pools[0].tables.size(), 2u);
    EXPECT_EQ(map.pools[0].tables[1]->epoch(), second);
    map = all_clean(map);
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
}

TEST(Transition, AtEightTablesMovesWaitAndTheLostAreStillReplaced) {
    Map map = all_clean(with_pool(make_map(6), "rep:3"));
    for (u64 id = 10; id < 17; ++id) map = with_corelet(map, make_corelet(id, "z/r/c" + std::to_string(id)));
    ASSERT_EQ(map.pools[0].tables.size(), k_tables_max);
    EXPECT_FALSE(map.pools[0].move_wanted);
    map = with_corelet(map, make_corelet(30, "z/r/c30"));
    EXPECT_EQ(map.pools[0].tables.size(), k_tables_max);
    EXPECT_TRUE(map.pools[0].move_wanted);
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(30)));

    TablePtr const before = map.pools[0].tables.front();
    map = after(map, DutyChanged{CoreletId(3), Duty::kDrain});
    EXPECT_EQ(map.pools[0].tables.front(), before) << "a drain is a move";
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    map = after(map, CoreletOut{CoreletId(2), true});
    TablePtr const filled = map.pools[0].tables.front();
    EXPECT_EQ(map.pools[0].tables.size(), k_tables_max);
    EXPECT_FALSE(filled->has(CoreletId(2)));
    EXPECT_EQ(holes(*filled), 0u);
    for (u32 slot = 0; slot < before->slots(); ++slot) {
        for (unsigned i = 0; i < 3; ++i) {
            if (before->at(slot, i) != CoreletId(2)) EXPECT_EQ(before->at(slot, i), filled->at(slot, i));
        }
    }
    map = all_clean(map);
    EXPECT_FALSE(map.pools[0].move_wanted);
    EXPECT_TRUE(map.pools[0].current().has(CoreletId(30)));
    EXPECT_FALSE(map.pools[0].current().has(CoreletId(3)));
    map = all_clean(map);
    EXPECT_EQ(map.pools[0].tables.size(), 1u);
}

TEST(Transition, TooFewLeaveHolesAndTheyAreFilledAgain) {
    Map map = all_clean(with_pool(make_map(3), "rep:3"));
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    map = after(map, CoreletOut{CoreletId(2), true});
    EXPECT_EQ(holes(map.pools[0].current()), map.pools[0].current().slots());
    map = with_corelet(map, make_corelet(9, "z/r/c9"));
    EXPECT_EQ(holes(map.pools[0].current()), 0u);
}

TEST(Transition, HotSwapTakesThePlaces) {
    Map map = all_clean(with_pool(make_map(5, [](u64 id) { return "z" + std::to_string(id) + "/r/c"; }), "rep:3"));
    auto const places = map.pools[0].current().places_of(CoreletId(3));
    EXPECT_EQ(error_of(map, CoreletReplaced{CoreletId(3), make_corelet(40)}), Code::kUnavailable);
    map = after(map, CoreletDown{CoreletId(3), Incarnation(1)});
    map = after(map, CoreletReplaced{CoreletId(3), make_corelet(40)});
    EXPECT_EQ(map.pools[0].current().places_of(CoreletId(40)), places);
    EXPECT_EQ(map.find(CoreletId(3)), nullptr);
    const Corelet* heir = map.find(CoreletId(40));
    EXPECT_EQ(heir->location.zone, "z3");
    EXPECT_EQ(heir->former, (std::vector{FormerIdentity{CoreletId(3), Incarnation(1)}}));
    // The former identity comes back only as a newcomer, under a new incarnation.
    EXPECT_EQ(error_of(map, CoreletJoined{make_corelet(3)}), Code::kFenced);
    Corelet again = make_corelet(3);
    again.incarnation = Incarnation(2);
    map = after(map, CoreletJoined{again});
    EXPECT_EQ(map.find(CoreletId(3))->state(), State::kJoining);
}

TEST(Transition, RemovingNeedsAnEmptyOne) {
    Map map = all_clean(with_pool(make_map(4), "rep:2"));
    EXPECT_EQ(error_of(map, CoreletRemoved{CoreletId(1), false}), Code::kUnavailable);
    Map const forced = after(map, CoreletRemoved{CoreletId(1), true});
    EXPECT_FALSE(forced.pools[0].current().has(CoreletId(1)));
    EXPECT_EQ(holes(forced.pools[0].current()), 0u);
}

TEST(Transition, PoolsWiderThanTheMeshAreRefusedWithAdvice) {
    Map const map = make_map(5);
    PoolSpec spec;
    spec.name = "wide";
    spec.redundancy = {10, 4};
    auto const refused = apply_event(map, PoolCreated{spec});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kInvalid);
    EXPECT_EQ(refused.error().message,
              "ec:10+4 needs 14 corelets that store, this mesh has 5. Use rep:3 or ec:3+2, or add 9 more.");
    spec.redundancy = {3, 2};
    EXPECT_EQ(after(map, PoolCreated{spec}).pools.size(), 1u);
    EXPECT_EQ(error_of(first_map(MeshId(1)), PoolCreated{spec}), Code::kInvalid);
}

TEST(Transition, PoolsAreNamedOnceAndNumberedForEver) {
    Map map = with_pool(make_map(3), "rep:3");
    PoolSpec spec = map.pools[0].spec;
    EXPECT_EQ(error_of(map, PoolCreated{spec}), Code::kExists);
    PoolId const first = map.pools[0].id;
    map = after(map, PoolRemoved{first});
    EXPECT_EQ(error_of(map, PoolRemoved{first}), Code::kNotFound);
    map = after(map, PoolCreated{spec});
    EXPECT_GT(map.pools[0].id, first);
    spec.name = "bad name";
    EXPECT_EQ(error_of(map, PoolCreated{spec}), Code::kInvalid);
    spec.name = "x";
    spec.strategy = "wishful";
    EXPECT_EQ(error_of(map, PoolCreated{spec}), Code::kInvalid);
    spec.strategy = "balanced";
    spec.min_copies = 4;
    EXPECT_EQ(error_of(map, PoolCreated{spec}), Code::kInvalid);
}

TEST(Transition, SlotsGrowWithTheMesh) {
    Map map = with_pool(make_map(3), "rep:3");
    EXPECT_EQ(map.pools[0].current().slots(), 256u);
    for (u64 id = 4; id <= 9; ++id)
        map = all_clean(with_corelet(map, make_corelet(id, "z/r/c" + std::to_string(id))));
    EXPECT_EQ(map.pools[0].current().slots(), 1024u);
}

// Any history leaves a map that is valid, and whose tables name nobody who is out.
TEST(Transition, RandomHistoriesKeepTheMapValid) {
    std::map<usize, int> changes;  // by the kind of event
    for (u64 seed = 0; seed < 8; ++seed) {
        Prng rng(seed);
        Map map = with_impatient_pool(make_map(6, [](u64 id) { return zone_of(id, 3); }), "ec:2+1", Level::kZone);
        u64 next = 100;
        for (int step = 0; step < 150 && map.corelets.size() > 1; ++step) {
            MapEvent const event = random_event(map, rng, next);
            MapEpoch const before = map.epoch;
            if (auto changed = apply_event(map, event)) map = *std::move(changed);
            ASSERT_LE(map.epoch.v, before.v + 1);
            changes[event.index()] += map.epoch > before;
            auto const valid = check_map(map);
            ASSERT_TRUE(valid.has_value()) << valid.error().to_string();
            for (const Corelet& corelet : map.corelets) {
                if (corelet.presence == Presence::kOut) ASSERT_FALSE(map.pools[0].current().has(corelet.id));
            }
        }
    }
    EXPECT_EQ(changes.size(), 11u);
    for (auto const& [kind, times] : changes) EXPECT_GT(times, 0) << "kind " << kind << " never changed anything";
}

TEST(Transition, ACordonMovesNothing) {
    Map map = all_clean(with_pool(make_map(5), "rep:2"));
    u64 const before = map.pools[0].current().hash();
    map = after(map, CordonChanged{CoreletId(2), true});
    EXPECT_TRUE(map.find(CoreletId(2))->cordoned);
    EXPECT_EQ(map.find(CoreletId(2))->state(), State::kUp);
    EXPECT_FALSE(map.find(CoreletId(2))->takes_new());
    EXPECT_EQ(map.pools[0].current().hash(), before);
    EXPECT_EQ(after(map, CordonChanged{CoreletId(2), true}).epoch, map.epoch);
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    map = after(map, CoreletUp{CoreletId(2), Incarnation(2), {}});
    EXPECT_TRUE(map.find(CoreletId(2))->cordoned) << "it survives a restart";
    map = after(map, CordonChanged{CoreletId(2), false});
    EXPECT_TRUE(map.find(CoreletId(2))->takes_new());
    EXPECT_EQ(error_of(map, CordonChanged{CoreletId(9), true}), Code::kNotFound);
}

}  // namespace
}  // namespace corelet::mesh
