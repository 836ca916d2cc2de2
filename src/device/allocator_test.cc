#include "device/allocator.h"

#include <gtest/gtest.h>

#include <set>

#include "base/prng.h"

namespace corelet {
namespace {

u64 total(const std::vector<UnitExtent>& extents) {
    u64 units = 0;
    for (const UnitExtent& extent : extents) units += extent.units;
    return units;
}

TEST(Allocator, TakesFreshSpaceAtTheFrontierAndReusesWhatWasFreed) {
    Allocator space(100);
    auto const a = space.allocate(10);
    auto const b = space.allocate(20);
    EXPECT_EQ(a, (std::vector<UnitExtent>{{0, 10}}));
    EXPECT_EQ(b, (std::vector<UnitExtent>{{10, 20}}));
    space.release(a);
    EXPECT_EQ(space.free_written_units(), 10U);
    EXPECT_EQ(space.allocate(5), (std::vector<UnitExtent>{{0, 5}})) << "written space goes first";
    EXPECT_EQ(space.allocate(10), (std::vector<UnitExtent>{{30, 10}}))
        << "a whole run at the frontier rather than parts";
    EXPECT_EQ(space.frontier(), 40U);
    EXPECT_TRUE(space.allocate_written(6).empty());
    EXPECT_EQ(space.allocate_written(5), (std::vector<UnitExtent>{{5, 5}}));
}

TEST(Allocator, GathersPartsWhenThereIsNoWholeRun) {
    Allocator space(64);
    auto const all = space.allocate(64);
    ASSERT_EQ(total(all), 64U);
    EXPECT_TRUE(space.allocate(1).empty());
    for (u32 unit : {3U, 10U, 11U, 12U, 40U}) space.release(UnitExtent{unit, 1});
    auto const parts = space.allocate(4);
    EXPECT_EQ(parts, (std::vector<UnitExtent>{{10, 3}, {3, 1}})) << "the longest first";
    EXPECT_TRUE(space.allocate(2).empty());
    EXPECT_EQ(space.allocate(1), (std::vector<UnitExtent>{{40, 1}}));
    EXPECT_EQ(space.free_units(), 0U);
}

TEST(Allocator, ClaimsRefuseOverlapsAndWhatLiesBeyond) {
    Allocator space(100);
    EXPECT_TRUE(space.claim({10, 10}));
    EXPECT_FALSE(space.claim({19, 2}));
    EXPECT_FALSE(space.claim({5, 6}));
    EXPECT_FALSE(space.claim({95, 6}));
    EXPECT_FALSE(space.claim({0, 0}));
    EXPECT_FALSE(space.claim({UINT32_MAX, 2}));
    EXPECT_TRUE(space.claim({20, 80}));
    EXPECT_EQ(space.free_units(), 10U);
    EXPECT_EQ(space.frontier(), 100U);
    EXPECT_EQ(space.take_frontier(4).units, 0U);
}

TEST(Allocator, NothingIsGivenTwiceAndNothingIsLost) {
    for (u64 seed = 1; seed <= 20; ++seed) {
        Prng random{seed};
        u64 const units = random.between(1, 700);
        Allocator space(units);
        std::vector<std::vector<UnitExtent>> held;
        std::set<u64> taken;
        for (int step = 0; step < 800; ++step) {
            if (random.chance(3, 5)) {
                u64 const wanted = random.between(1, 40);
                bool const written = random.chance(1, 3);
                u64 const room = written ? space.free_written_units() : space.free_units();
                u64 const frontier = space.frontier();
                auto extents = written ? space.allocate_written(wanted) : space.allocate(wanted);
                ASSERT_EQ(extents.empty(), wanted > room) << "what is free can be had";
                if (extents.empty()) continue;
                ASSERT_EQ(total(extents), wanted);
                for (const UnitExtent& extent : extents) {
                    ASSERT_GT(extent.units, 0U);
                    if (written) ASSERT_LE(extent.end(), frontier);
                    for (u64 unit = extent.start; unit < extent.end(); ++unit)
                        ASSERT_TRUE(taken.insert(unit).second);
                }
                held.push_back(std::move(extents));
            } else if (!held.empty()) {
                usize const index = random.below(held.size());
                space.release(held[index]);
                for (const UnitExtent& extent : held[index])
                    for (u64 unit = extent.start; unit < extent.end(); ++unit) taken.erase(unit);
                held.erase(held.begin() + static_cast<std::ptrdiff_t>(index));
            }
            ASSERT_EQ(space.free_units(), units - taken.size());
            ASSERT_TRUE(taken.empty() || *taken.rbegin() < space.frontier());
        }
    }
}

}  // namespace
}  // namespace corelet
