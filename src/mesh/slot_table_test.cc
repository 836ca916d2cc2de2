#include "mesh/slot_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace corelet::mesh {
namespace {

std::vector<CoreletId> rows(u32 slots, std::vector<u64> row) {
    std::vector<CoreletId> cells;
    for (u32 i = 0; i < slots; ++i) {
        for (u64 id : row) cells.push_back(CoreletId(id));
    }
    return cells;
}

// Where every chunk lies hangs on these: they never change.
TEST(Slots, GoldenVectors) {
    EXPECT_EQ(slot_of({SpaceId(1), make_seq(Epoch(1), 0)}, 0, 512), 484u);
    EXPECT_EQ(slot_of({SpaceId(1), make_seq(Epoch(1), 1)}, 0, 512), 467u);
    EXPECT_EQ(slot_of({SpaceId(2), make_seq(Epoch(1), 1)}, 0, 512), 16u);
    EXPECT_EQ(slot_of({SpaceId(0xDEADBEEF), make_seq(Epoch(77), 123456789)}, 4, 65'536), 43290u);
    EXPECT_EQ(slot_of({SpaceId(0), 0}, 0, 64), 24u);
}

TEST(Slots, LocalityKeepsNeighboursTogether) {
    u32 const slot = slot_of({SpaceId(9), 64}, 6, 1024);
    for (u64 seq = 64; seq < 128; ++seq) EXPECT_EQ(slot_of({SpaceId(9), seq}, 6, 1024), slot);
    u32 elsewhere = 0;
    for (u64 seq = 128; seq < 64 * 40; seq += 64) elsewhere += slot_of({SpaceId(9), seq}, 6, 1024) != slot;
    EXPECT_GE(elsewhere, 36u);
}

TEST(Slots, SpreadEvenly) {
    std::vector<u32> hits(256);
    for (u64 seq = 0; seq < 256 * 400; ++seq) ++hits[slot_of({SpaceId(3), make_seq(Epoch(2), seq)}, 0, 256)];
    EXPECT_GT(*std::min_element(hits.begin(), hits.end()), 300u);
    EXPECT_LT(*std::max_element(hits.begin(), hits.end()), 500u);
}

TEST(Slots, DoublingSplitsEachSlotInTwo) {
    for (u64 seq = 0; seq < 1000; ++seq) {
        EXPECT_EQ(slot_of({SpaceId(5), seq}, 0, 512), slot_of({SpaceId(5), seq}, 0, 1024) % 512);
    }
}

TEST(Slots, NumberFollowsTheMesh) {
    EXPECT_EQ(slots_for(0), 64u);
    EXPECT_EQ(slots_for(1), 64u);
    EXPECT_EQ(slots_for(3), 256u);
    EXPECT_EQ(slots_for(8), 512u);
    EXPECT_EQ(slots_for(9), 1024u);
    EXPECT_EQ(slots_for(5000), 65'536u);
}

TEST(SlotTable, AnswersWhatItWasMadeFrom) {
    auto cells = rows(64, {7, 0, 3});
    cells[3] = CoreletId(9);
    auto const table = SlotTable::make(MapEpoch(4), 64, 3, cells).value();
    EXPECT_EQ(table->epoch(), MapEpoch(4));
    EXPECT_EQ(table->row(0), (std::vector{CoreletId(7), CoreletId{}, CoreletId(3)}));
    EXPECT_EQ(table->at(1, 0), CoreletId(9));
    EXPECT_EQ(table->members(), (std::vector{CoreletId(3), CoreletId(7), CoreletId(9)}));
    EXPECT_EQ(table->position_of(0, CoreletId(3)), u8{2});
    EXPECT_EQ(table->position_of(1, CoreletId(7)), std::nullopt);
    EXPECT_EQ(table->places_of(CoreletId(9)), (std::vector{std::pair<u32, u8>(1, 0)}));
    EXPECT_TRUE(table->places_of(CoreletId(8)).empty());
}

TEST(SlotTable, HashIsOfContentsAlone) {
    auto const cells = rows(64, {1, 2});
    auto const table = SlotTable::make(MapEpoch(1), 64, 2, cells).value();
    EXPECT_EQ(table->with_epoch(MapEpoch(2))->hash(), table->hash());
    EXPECT_NE(SlotTable::make(MapEpoch(1), 64, 2, rows(64, {2, 1})).value()->hash(), table->hash());
    EXPECT_NE(SlotTable::make(MapEpoch(1), 128, 2, rows(128, {1, 2})).value()->hash(), table->hash());
    auto const other_form = SlotTable::from_indexes(MapEpoch(1), 64, 2, table->members(), table->indexes());
    EXPECT_EQ(other_form.value()->hash(), table->hash());
}

TEST(SlotTable, ReplacingKeepsPositions) {
    auto const table = SlotTable::make(MapEpoch(1), 64, 3, rows(64, {1, 2, 3})).value();
    auto const replaced = table->with_replaced(MapEpoch(2), CoreletId(2), CoreletId(8));
    EXPECT_EQ(replaced->row(63), (std::vector{CoreletId(1), CoreletId(8), CoreletId(3)}));
    EXPECT_FALSE(replaced->has(CoreletId(2)));
}

TEST(SlotTable, RefusesWhatIsNoTable) {
    auto const invalid = [](auto const& result) { return !result && result.error().code == Code::kInvalid; };
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 63, 1, rows(63, {1}))));
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 32, 1, rows(32, {1}))));
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 64, 2, rows(64, {1}))));
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 64, 0, {})));
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 64, 25, rows(64, std::vector<u64>(25, 0)))));
    EXPECT_TRUE(invalid(SlotTable::make(MapEpoch(1), 64, 2, rows(64, {1, 1}))));
    std::vector<u16> const beyond(64, 2);
    EXPECT_TRUE(invalid(SlotTable::from_indexes(MapEpoch(1), 64, 1, {CoreletId(1)}, beyond)));
    EXPECT_TRUE(invalid(SlotTable::from_indexes(MapEpoch(1), 64, 1, {CoreletId(2), CoreletId(1)}, beyond)));
    EXPECT_TRUE(invalid(SlotTable::from_indexes(MapEpoch(1), 64, 1, {CoreletId(0)}, std::vector<u16>(64, 1))));
}

}  // namespace
}  // namespace corelet::mesh
