#include "mesh/survival.h"

#include "base/prng.h"
#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

int losses(const Map& map, Level level = Level::kCorelet) {
    return can_lose(map, map.pools[0], level).losses;
}

// Ground truth by its definition: take corelets away and look whether each slot of each table still has k
// positions.
bool readable_without(const Map& map, const std::vector<CoreletId>& lost) {
    const Pool& pool = map.pools[0];
    for (u32 slot = 0; slot < pool.current().slots(); ++slot) {
        unsigned good = 0;
        for (CoreletId id : pool.current().row(slot)) {
            good += map.is_up(id) && std::find(lost.begin(), lost.end(), id) == lost.end();
        }
        if (good < pool.spec.redundancy.k) return false;
    }
    return true;
}

TEST(Survival, APoolKeepsItsPromise) {
    EXPECT_EQ(losses(with_pool(make_map(6), "rep:3")), 2);
    EXPECT_EQ(losses(with_pool(make_map(6), "ec:4+2")), 2);
    EXPECT_EQ(losses(with_pool(make_map(3), "rep:1")), 0);
    EXPECT_EQ(losses(with_pool(make_map(3), "rep:2")), 1);
}

TEST(Survival, DownCountsAgainstIt) {
    Map map = with_pool(make_map(6), "ec:4+2");
    map = after(map, CoreletDown{CoreletId(1), Incarnation(1)});
    EXPECT_EQ(losses(map), 1);
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    EXPECT_EQ(losses(map), 0);
    map = after(map, CoreletDown{CoreletId(3), Incarnation(1)});
    EXPECT_EQ(losses(map), -1);
    EXPECT_EQ(survival(map, map.pools[0]).sentence, "some data cannot be read now");
}

TEST(Survival, TenAndFourOverThreeZonesDoesNotSurviveOne) {
    auto const three = [](u64 id) { return zone_of(id, 3); };
    Map const ten = with_pool(make_map(18, three), "ec:10+4", Level::kZone);
    EXPECT_EQ(losses(ten), 4);
    EXPECT_EQ(losses(ten, Level::kZone), 0);
    EXPECT_FALSE(fatal_domains(ten, ten.pools[0], Level::kZone).empty());
    Map const nine = with_pool(make_map(18, three), "ec:9+5", Level::kZone);
    EXPECT_EQ(losses(nine, Level::kZone), 1);
    EXPECT_TRUE(fatal_domains(nine, nine.pools[0], Level::kZone).empty());
    Map const four = with_pool(make_map(20, [](u64 id) { return zone_of(id, 4); }), "ec:10+4", Level::kZone);
    EXPECT_EQ(losses(four, Level::kZone), 1);
}

TEST(Survival, SaysItInOneSentence) {
    Map const map = with_pool(make_map(6, [](u64 id) { return zone_of(id, 3); }), "rep:3", Level::kZone);
    EXPECT_EQ(survival(map, map.pools[0]).sentence, "any 2 corelets, any 2 chassis, any 2 racks, any 2 zones");
    Map const flat = with_pool(make_map(6), "ec:4+2");
    EXPECT_EQ(survival(flat, flat.pools[0]).sentence, "any 2 corelets, any 2 chassis; not rack z/r, zone z");
}

TEST(Survival, WhileMovingTheNewOnesAreNotTrustedYet) {
    Map map = all_clean(with_pool(make_map(4), "rep:2"));
    EXPECT_EQ(losses(map), 1);
    map = with_corelet(map, make_corelet(5, "z/r/c5"));
    EXPECT_EQ(losses(map), 1) << "each fragment is with its old or its new corelet: one loss takes one copy";
    // The newcomer dies before it reported clean: what was to move counts as lost with it, the other copy is there.
    Map const died = after(map, CoreletDown{CoreletId(5), Incarnation(1)});
    EXPECT_EQ(losses(died), 0);
    map = after(all_clean(map), CoreletDown{CoreletId(5), Incarnation(1)});
    EXPECT_EQ(losses(map), 0);
}

TEST(Survival, WhoHasNotReportedCleanCannotStandInForTheOldOne) {
    Map map = all_clean(with_pool(make_map(5), "rep:2"));
    map = after(map, DutyChanged{CoreletId(1), Duty::kDrain});
    ASSERT_FALSE(map.pools[0].current().has(CoreletId(1)));
    EXPECT_EQ(losses(map), 1);
    Map const too_early = after(map, CoreletDown{CoreletId(1), Incarnation(1)});
    EXPECT_EQ(losses(too_early), 0);
    Map const in_time = after(all_clean(map), CoreletDown{CoreletId(1), Incarnation(1)});
    EXPECT_EQ(losses(in_time), 1);
}

TEST(Survival, HolesCount) {
    Map map = all_clean(with_pool(make_map(3), "rep:3"));
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    map = after(map, CoreletOut{CoreletId(2), true});
    EXPECT_EQ(losses(map), 1);
    EXPECT_EQ(losses(all_clean(map)), 1);
}

// can_lose is true and tight: every subset of that size is survived, some subset of one more is not.
TEST(Survival, IsExactOverAllSubsets) {
    Prng rng(23);
    for (int round = 0; round < 20; ++round) {
        u64 const n = rng.between(3, 8);
        const char* const pools[] = {"rep:2", "rep:3", "ec:2+1"};
        Map map = with_pool(make_map(n, [](u64 id) { return zone_of(id, 2); }), pools[rng.below(3)]);
        if (rng.chance(1, 2)) map = after(map, CoreletDown{CoreletId(rng.between(1, n)), Incarnation(1)});
        int const claimed = losses(map);
        bool all_survive = true, one_more_survives = true;
        for (u32 subset = 0; subset < 1U << n; ++subset) {
            std::vector<CoreletId> lost;
            bool counts = true;
            for (u64 id = 1; id <= n; ++id) {
                if (!(subset >> (id - 1) & 1U)) continue;
                lost.push_back(CoreletId(id));
                counts = counts && map.is_up(CoreletId(id));
            }
            if (!counts) continue;
            if (static_cast<int>(lost.size()) == claimed) all_survive = all_survive && readable_without(map, lost);
            if (static_cast<int>(lost.size()) == claimed + 1) {
                one_more_survives = one_more_survives && readable_without(map, lost);
            }
        }
        EXPECT_TRUE(all_survive);
        EXPECT_FALSE(one_more_survives);
    }
}

}  // namespace
}  // namespace corelet::mesh
