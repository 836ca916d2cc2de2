#include "mesh/table_delta.h"

#include "base/prng.h"
#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

// Rows of distinct members out of `pool`, some of them holes.
TablePtr random_table(Prng& rng, MapEpoch epoch, u32 slots, unsigned width, u64 pool) {
    std::vector<CoreletId> cells;
    for (u32 slot = 0; slot < slots; ++slot) {
        u64 const first = rng.below(pool);
        for (unsigned i = 0; i < width; ++i)
            cells.push_back(rng.chance(1, 10) ? CoreletId{} : CoreletId(1 + (first + i) % pool));
    }
    return SlotTable::make(epoch, slots, width, cells).value();
}

void expect_same(const TablePtr& got, const TablePtr& wanted) {
    EXPECT_EQ(got->epoch(), wanted->epoch());
    EXPECT_EQ(got->hash(), wanted->hash());
    EXPECT_EQ(got->slots(), wanted->slots());
    EXPECT_EQ(got->members(), wanted->members());
    EXPECT_EQ(got->indexes(), wanted->indexes());
}

TEST(TableDelta, WhatIsPackedIsUnpacked) {
    Prng rng(1);
    for (u64 members : {3, 7, 8, 127, 128, 1000}) {
        TablePtr const table = random_table(rng, MapEpoch(4), 256, 3, members);
        auto const delta = make_table_delta(nullptr, *table);
        EXPECT_EQ(delta.base_epoch(), 0u);
        auto const built = apply_table_delta(nullptr, delta);
        ASSERT_TRUE(built) << built.error().to_string();
        expect_same(*built, table);
    }
}

TEST(TableDelta, NobodyAnywhereTakesNoRoom) {
    std::vector<CoreletId> const cells(64 * 2);
    TablePtr const table = SlotTable::make(MapEpoch(4), 64, 2, cells).value();
    auto const delta = make_table_delta(nullptr, *table);
    EXPECT_TRUE(delta.cells().empty());
    expect_same(apply_table_delta(nullptr, delta).value(), table);
}

TEST(TableDelta, AnyTableIsToldByAnyOtherOfItsWidth) {
    Prng rng(2);
    for (int round = 0; round < 200; ++round) {
        auto const slots = static_cast<u32>(64U << rng.below(3));
        TablePtr const base = random_table(rng, MapEpoch(3), slots, 3, rng.between(3, 40));
        auto cells = std::vector<CoreletId>();
        for (u32 slot = 0; slot < slots * 2; ++slot) {
            auto row = base->row(slot % slots);
            if (rng.chance(1, 20))
                row[rng.below(3)] = rng.chance(1, 4) ? CoreletId{} : CoreletId(rng.between(50, 90));
            cells.insert(cells.end(), row.begin(), row.end());
        }
        TablePtr const table = SlotTable::make(MapEpoch(5), slots * 2, 3, cells).value();
        auto const delta = make_table_delta(base.get(), *table);
        EXPECT_EQ(delta.base_epoch(), 3u);
        EXPECT_EQ(static_cast<u32>(delta.gaps_size()), cells_changed(*base, *table).value());
        auto const built = apply_table_delta(base.get(), delta);
        ASSERT_TRUE(built) << built.error().to_string();
        expect_same(*built, table);
    }
}

TEST(TableDelta, WhereMostChangesTheTableIsPacked) {
    Prng rng(3);
    TablePtr const base = random_table(rng, MapEpoch(3), 256, 3, 100);
    TablePtr const other = random_table(rng, MapEpoch(4), 256, 3, 100);
    EXPECT_EQ(make_table_delta(base.get(), *other).base_epoch(), 0u);
    TablePtr const wider = random_table(rng, MapEpoch(4), 256, 4, 100);
    EXPECT_EQ(make_table_delta(base.get(), *wider).base_epoch(), 0u);
    EXPECT_FALSE(cells_changed(*base, *wider));
}

TEST(TableDelta, NonsenseIsRefused) {
    Prng rng(4);
    TablePtr const base = random_table(rng, MapEpoch(3), 64, 3, 10);
    auto const good = make_table_delta(base.get(), *base->with_epoch(MapEpoch(4)));
    auto const refused = [&](auto spoil) {
        pb::TableDelta delta = good;
        spoil(delta);
        auto const built = apply_table_delta(base.get(), delta);
        return !built && built.error().code == Code::kInvalid;
    };
    EXPECT_FALSE(refused([](auto&) {}));
    EXPECT_TRUE(refused([](auto& d) { d.set_slots(63); }));
    EXPECT_TRUE(refused([](auto& d) { d.set_slots(k_slots_max * 2); }));
    EXPECT_TRUE(refused([](auto& d) { d.set_width(25); }));
    EXPECT_TRUE(refused([](auto& d) { d.set_width(4); })) << "another width than the base's";
    EXPECT_TRUE(refused([](auto& d) { d.add_gaps(1); })) << "a gap and nobody";
    EXPECT_TRUE(refused([](auto& d) { d.add_gaps(64 * 3), d.add_who(0); })) << "behind the last cell";
    EXPECT_TRUE(refused([](auto& d) { d.add_gaps(0), d.add_who(1); })) << "nobody has this number";
    EXPECT_TRUE(refused([](auto& d) { d.add_members(9), d.add_members(9); })) << "members out of order";
    pb::TableDelta packed = make_table_delta(nullptr, *base);
    packed.mutable_cells()->pop_back();
    EXPECT_EQ(apply_table_delta(nullptr, packed).error().code, Code::kInvalid);
}

}  // namespace
}  // namespace corelet::mesh
