// The parts of a volume by themselves: block cache, page cache and its budget, range locks, container table.
#include <gtest/gtest.h>

#include "volume/volume_testing.h"

namespace corelet {
namespace {

Buffer block_of(u8 value) {
    Buffer out = Buffer::allocate(k_block_bytes);
    std::memset(out.mutable_data(), value, k_block_bytes);
    return out;
}

TEST(BlockCache, AgainstAModel) {
    BlockCache cache(1 * k_mib);
    Prng draw(1);
    std::map<std::pair<u64, u32>, u8> model;  // contents for ever
    u32 hits = 0;
    for (u32 i = 0; i < 20'000; ++i) {
        u64 const container = draw.between(1, 5);
        u32 const block = static_cast<u32>(draw.below(200));
        auto const key = std::pair(container, block);
        if (!model.contains(key)) model[key] = static_cast<u8>(draw.below(256));
        Buffer out = Buffer::allocate(k_block_bytes);
        switch (draw.below(4)) {
            case 0:
                cache.insert(container, block, block_of(model[key]), draw.chance(1, 2));
                break;
            case 1:
                cache.erase(container, block);
                break;
            case 2: {
                auto const renamed = std::pair(u64{10} + i, block);
                model[renamed] = model[key];
                bool const was_there = cache.contains(container, block);
                cache.rename(container, block, renamed.first, block);
                EXPECT_EQ(cache.contains(renamed.first, block), was_there);
                EXPECT_FALSE(cache.contains(container, block));
                break;
            }
            default:
                if (!cache.copy(container, block, out.mutable_data())) break;
                ++hits;
                EXPECT_TRUE(as_text(out) == as_text(block_of(model[key])));
        }
        EXPECT_LE(cache.bytes_in_use(), 1 * k_mib);
    }
    EXPECT_GT(hits, 100U);
}

TEST(BlockCache, KeepsWhatIsUsed) {
    BlockCache cache(1 * k_mib);
    Buffer out = Buffer::allocate(k_block_bytes);
    for (u32 i = 0; i < 100; ++i) cache.insert(1, i, block_of(1), false);
    for (u32 i = 0; i < 2000; ++i) {
        for (u32 used = 0; used < 10; ++used) EXPECT_TRUE(cache.copy(1, used, out.mutable_data())) << i;
        cache.insert(2, i, block_of(2), false);
    }
    EXPECT_FALSE(cache.contains(1, 50));
    BlockCache none(0);
    none.insert(1, 1, block_of(1), true);
    EXPECT_FALSE(none.copy(1, 1, out.mutable_data()));
}

TEST(PageCache, EvictsTheLeastRecentlyUsedAndNothingThatIsHeld) {
    PageCache cache(32);
    for (u64 i = 0; i < 32; ++i) {
        PagePin const pin(cache, cache.insert({0, i}, std::make_shared<PageData>()));
        if (i == 3) cache.writable(pin.node()).set_entry(0, {1, 2, 3});
    }
    PagePin const held(cache, *cache.find({0, 0}));
    {
        PagePin const used(cache, *cache.find({0, 1}));
    }
    for (u64 i = 100; i < 129; ++i) PagePin const pin(cache, cache.insert({0, i}, std::make_shared<PageData>()));
    EXPECT_EQ(cache.pages(), 32U);
    EXPECT_TRUE(cache.find({0, 0})) << "held";
    EXPECT_TRUE(cache.find({0, 1})) << "used last";
    EXPECT_FALSE(cache.find({0, 2}));
    EXPECT_TRUE(cache.find({0, 3})) << "dirty";
}

TEST(PageCache, AFrozenPageIsCopiedBeforeItChanges) {
    PageCache cache(32);
    PagePin pin(cache, cache.insert({0, 5}, std::make_shared<PageData>()));
    cache.writable(pin.node()).set_entry(0, {1, 0, 0});
    auto frozen = cache.freeze();
    ASSERT_EQ(frozen.size(), 1U);
    EXPECT_EQ(cache.dirty_pages(), 0U);
    EXPECT_EQ(cache.dirty_cost(), 3U);
    cache.writable(pin.node()).set_entry(0, {2, 0, 0});
    EXPECT_EQ(frozen[0].data->entry(0).container, 1U);
    EXPECT_EQ(pin.page().entry(0).container, 2U);
    EXPECT_EQ(cache.copies(), 1U);
    EXPECT_EQ(cache.next_changed(0), 5U);
    frozen.clear();
    cache.thaw();
    EXPECT_EQ(cache.copies(), 0U);
    EXPECT_EQ(cache.dirty_pages(), 1U) << "it changed after the cut";
}

Task<void> take_grant(DirtyBudget* budget, usize cost, Event* release, std::vector<usize>* order) {
    auto const grant = co_await budget->admit(cost);
    order->push_back(cost);
    co_await release->wait();
}

TEST(DirtyBudget, FirstComeFirstServedAndAskedForWhenShort) {
    Executor executor;
    PageCache cache(64);
    DirtyBudget budget(cache);  // 48, at most 12 at once
    ASSERT_EQ(budget.cost_max(), 48U);
    Notify pressed;
    budget.set_pressed(&pressed);
    Event release;
    std::vector<usize> order;
    Scope scope(executor);
    for (usize const cost : {12U, 11U, 12U, 10U, 9U, 1U}) scope.spawn(take_grant(&budget, cost, &release, &order));
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<usize>{12, 11, 12, 10})) << "the one that would fit does not overtake";
    EXPECT_TRUE(budget.is_waited_for());
    release.set();
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<usize>{12, 11, 12, 10, 9, 1}));
    EXPECT_FALSE(budget.is_waited_for());
    EXPECT_EQ(DirtyBudget::cost_of({0, 1, 511, 512, 2000}), 5U + 2 * 3U);
}

Task<void> hold_range(RangeLocks* locks, Extent extent, Event* release, std::vector<u64>* order) {
    RangeLocks::Held held;
    co_await locks->lock(held, extent);
    order->push_back(extent.lba);
    co_await release->wait();
}

TEST(RangeLocks, OverlapsWaitInOrderAndOthersPass) {
    Executor executor;
    RangeLocks locks;
    Event first, rest;
    std::vector<u64> order;
    Scope scope(executor), dropped(executor);
    scope.spawn(hold_range(&locks, {0, 10}, &first, &order));
    executor.run_ready();
    dropped.spawn(hold_range(&locks, {5, 20}, &rest, &order));
    executor.run_ready();
    scope.spawn(hold_range(&locks, {15, 1}, &rest, &order));
    scope.spawn(hold_range(&locks, {30, 1}, &rest, &order));
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<u64>{0, 30})) << "15 waits behind 5, which waits behind 0";
    dropped.cancel();
    executor.run_ready();
    EXPECT_EQ(order, (std::vector<u64>{0, 30, 15}));
    first.set();
    rest.set();
    executor.run_ready();
    EXPECT_TRUE(locks.idle());
}

TEST(ContainerTable, CountsAndSays) {
    ContainerTable table(16);
    Container& segment = table.segment(100);
    for (u32 i = 0; i < 10; ++i) table.gain(segment, i + 1, 1000 + i, i);
    EXPECT_TRUE(table.packable().empty()) << "it may take more";
    table.end_segment(100, 12 * k_block_bytes);
    ASSERT_EQ(table.packable().size(), 1U);
    EXPECT_TRUE(table.releasable().empty());
    Container& chunk = table.add(200, ContainerKind::kChunk, 64);
    for (u32 i = 0; i < 10; ++i) {
        table.lose({100, i + 1, 0});
        table.gain(chunk, i + 1, 1000 + i, i);
    }
    EXPECT_EQ(table.releasable(), std::vector<u64>{100});
    EXPECT_EQ(table.totals().chunk_live, 10U);
    EXPECT_EQ(table.totals().segment_live, 0U);
    EXPECT_TRUE(table.small_chunks().empty());
    Container& fuller = table.add(300, ContainerKind::kChunk, 64);
    for (u32 i = 0; i < 60; ++i) table.gain(fuller, i + 1, i, 0);
    EXPECT_EQ(table.victims(100, 500, 10), std::vector<Container*>{&chunk});
    for (u32 i = 0; i < 10; ++i) table.lose({200, i + 1, 0});
    EXPECT_EQ(table.dead(), std::vector<u64>{200});
    table.condemn(200, RecordNumber(5));
    EXPECT_TRUE(table.dead().empty());
    EXPECT_EQ(table.condemned(), std::vector<u64>{200});
    table.erase(200);
    table.erase(100);
    EXPECT_EQ(table.totals().containers, 1U);
    EXPECT_EQ(table.totals().dead_chunks, 0U);
}

TEST(ContainerTable, ComesBackFromItsPages) {
    ContainerTable table(16);
    std::map<u32, ContainerTable::Page> pages;
    Prng draw(4);
    std::vector<u64> names;
    for (u64 seq = 1; seq <= 1200; ++seq) {
        Container& chunk = table.add(seq, draw.chance(1, 20) ? ContainerKind::kSegment : ContainerKind::kChunk, 64);
        u32 const live = static_cast<u32>(draw.below(4));
        for (u32 i = 0; i < live; ++i) table.gain(chunk, i, seq * 64 + i, 0);
        if (chunk.in_log()) table.end_segment(seq, 64 * k_block_bytes);
        if (live == 0 && draw.chance(1, 3)) {
            table.erase(seq);
        } else {
            names.push_back(seq);
        }
        if (seq % 100 == 0)
            for (auto& [index, page] : table.take_changed_pages({})) pages[index] = page;
    }
    u64 const left_out = table.releasable().front();
    for (auto& [index, page] : table.take_changed_pages({left_out})) pages[index] = page;
    EXPECT_TRUE(table.take_changed_pages({}).empty());
    ContainerTable again(16);
    for (const auto& [index, page] : pages) ASSERT_TRUE(again.restore_page(index, *page));
    for (u64 const seq : names) {
        const Container* const before = table.find(seq);
        const Container* const after = again.find(seq);
        ASSERT_EQ(after == nullptr, seq == left_out);
        if (after)
            EXPECT_TRUE(after->live == before->live && after->kind == before->kind && after->slot == before->slot);
    }
    EXPECT_EQ(again.totals().chunk_live, table.totals().chunk_live);
    EXPECT_EQ(again.dead(), table.dead());
    EXPECT_EQ(again.totals().dead_blocks, table.totals().dead_blocks);
    EXPECT_FALSE(again.restore_page(0, *pages[0])) << "twice the same names";
}

}  // namespace
}  // namespace corelet
