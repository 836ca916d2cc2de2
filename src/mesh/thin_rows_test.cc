#include "mesh/thin_rows.h"

#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Map with_datacenter_pool(u64 corelets, u8 threshold) {
    Map const map = make_map(corelets);
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = {10, 4};
    spec.level = Level::kCorelet;
    spec.write_quorum = 11;
    spec.repair_threshold = threshold;
    return all_clean(after(map, PoolCreated{spec}));
}

Map down(const Map& map, u64 id) {
    return after(map, CoreletDown{CoreletId(id), Incarnation(1)});
}

usize moved(const SlotTable& a, const SlotTable& b) {
    usize out = 0;
    for (u32 slot = 0; slot < a.slots(); ++slot)
        for (unsigned position = 0; position < a.width(); ++position)
            out += a.at(slot, position) != b.at(slot, position);
    return out;
}

TEST(ThinRows, OneLostOfFourteenWaitsTwoDoNot) {
    Map const whole = with_datacenter_pool(16, 12);
    EXPECT_FALSE(has_thin_rows(whole, whole.pools[0]));
    Map const one = down(whole, 3);
    EXPECT_FALSE(has_thin_rows(one, one.pools[0]));
    EXPECT_EQ(after(one, ThinRowsFilled{one.pools[0].id}).epoch, one.epoch) << "nothing changes";
    Map const two = down(one, 9);
    ASSERT_TRUE(has_thin_rows(two, two.pools[0]));
    Map const filled = after(two, ThinRowsFilled{two.pools[0].id});
    EXPECT_FALSE(has_thin_rows(filled, filled.pools[0]));
    const SlotTable& before = two.pools[0].current();
    const SlotTable& now = filled.pools[0].current();
    for (u32 slot = 0; slot < now.slots(); ++slot) {
        bool const both = before.position_of(slot, CoreletId(3)) && before.position_of(slot, CoreletId(9));
        for (unsigned position = 0; position < now.width(); ++position) {
            CoreletId const had = before.at(slot, position), has = now.at(slot, position);
            bool const gives = both && (had == CoreletId(3) || had == CoreletId(9));
            EXPECT_EQ(has != had, gives) << "slot " << slot << ": only places of the down, only where both are";
            EXPECT_TRUE(!gives || two.is_up(has)) << slot;
        }
    }
    EXPECT_EQ(filled.pools[0].tables.size(), 2U) << "what they hold is found by the former table";
    EXPECT_TRUE(check_map(filled).has_value());
}

TEST(ThinRows, WithoutAThresholdNothingIsThin) {
    Map map = with_datacenter_pool(16, 0);
    for (u64 id : {3, 9, 11, 12}) map = down(map, id);
    EXPECT_FALSE(has_thin_rows(map, map.pools[0]));
    EXPECT_EQ(after(map, ThinRowsFilled{map.pools[0].id}).epoch, map.epoch);
}

// A place that nobody can take stays with who is down.
TEST(ThinRows, WhereNobodyCouldEnterTheDownStay) {
    Map map = with_datacenter_pool(14, 12);
    map = down(down(map, 3), 9);
    EXPECT_FALSE(has_thin_rows(map, map.pools[0]));
    Map more = with_datacenter_pool(15, 12);
    more = down(down(more, 3), 9);
    ASSERT_TRUE(has_thin_rows(more, more.pools[0]));
    Map const filled = after(more, ThinRowsFilled{more.pools[0].id});
    const SlotTable& table = filled.pools[0].current();
    for (u32 slot = 0; slot < table.slots(); ++slot)
        for (CoreletId id : table.row(slot)) EXPECT_FALSE(id.is_zero()) << slot;
    EXPECT_FALSE(has_thin_rows(filled, filled.pools[0]));
}

TEST(ThinRows, ManyDownLookLikeTheNetwork) {
    Map map = with_datacenter_pool(16, 12);
    for (u64 id : {1, 2, 3, 4, 5, 6}) map = down(map, id);
    auto const refused = apply_event(map, ThinRowsFilled{map.pools[0].id});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kUnavailable);
    EXPECT_EQ(apply_event(map, ThinRowsFilled{PoolId(77)}).error().code, Code::kNotFound);
}

TEST(ThinRows, WhoComesBackGetsItsShareAgain) {
    Map map = with_datacenter_pool(16, 12);
    const SlotTable first = map.pools[0].current();
    map = down(down(map, 3), 9);
    map = after(map, ThinRowsFilled{map.pools[0].id});
    EXPECT_GT(moved(first, map.pools[0].current()), 0U);
    map = after(map, CoreletUp{CoreletId(3), Incarnation(1), {}});
    map = after(map, CoreletUp{CoreletId(9), Incarnation(1), {}});
    for (u64 id = 1; id <= 16; ++id) {
        usize const places = map.pools[0].current().places_of(CoreletId(id)).size();
        EXPECT_NEAR(static_cast<double>(places), first.slots() * 14.0 / 16, 2.0) << id;
    }
}

TEST(ThinRows, AtTheBoundOfTablesItWaits) {
    Map map = with_datacenter_pool(20, 13);
    Code refused{};
    for (u64 id = 1; id <= 6 && refused == Code{}; ++id) {
        map = down(map, id);
        for (int again = 0; again < 3 && refused == Code{}; ++again) {
            map = after(map, CoreletUp{CoreletId(id), Incarnation(1), {}});
            map = down(map, id);
            auto const next = apply_event(map, ThinRowsFilled{map.pools[0].id});
            if (next) map = *next;
            if (!next) refused = next.error().code;
            ASSERT_LE(map.pools[0].tables.size(), k_tables_max);
        }
    }
    EXPECT_EQ(refused, Code::kUnavailable) << map.pools[0].tables.size();
}

TEST(PoolQuorums, ThatMakeNoSenseAreRefused) {
    PoolSpec spec;
    spec.name = "main";
    spec.redundancy = {10, 4};
    spec.write_quorum = 11;
    spec.read_quorum = 10;
    spec.repair_threshold = 12;
    EXPECT_TRUE(check_pool_spec(spec).has_value());
    EXPECT_TRUE(spec.puts_behind());
    auto const refused = [&](u8 write, u8 read, u8 repair) {
        PoolSpec bad = spec;
        bad.write_quorum = write;
        bad.read_quorum = read;
        bad.repair_threshold = repair;
        return !check_pool_spec(bad).has_value();
    };
    EXPECT_TRUE(refused(10, 10, 12)) << "k fragments durable survive no loss";
    EXPECT_TRUE(refused(15, 10, 12));
    EXPECT_TRUE(refused(11, 9, 12)) << "fewer than k decode nothing";
    EXPECT_TRUE(refused(11, 15, 12));
    EXPECT_TRUE(refused(11, 10, 9));
    EXPECT_TRUE(refused(11, 10, 14)) << "with all of them nothing is to be repaired";
    EXPECT_FALSE(refused(14, 14, 13));
    EXPECT_FALSE(refused(0, 0, 0));
    spec.write_quorum = 14;
    EXPECT_FALSE(spec.puts_behind()) << "all of them is no quorum";
}

}  // namespace
}  // namespace corelet::mesh
