// What all strategies promise, and what each does in its own way.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/checksum.h"
#include "base/prng.h"
#include "mesh/placement_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

class Strategies : public ::testing::TestWithParam<std::string_view> {
  protected:
    [[nodiscard]] TablePtr place(const PlacementRequest& request) const {
        return table_of(request, find_strategy(GetParam())->place(request));
    }
};

TEST_P(Strategies, AreNamedAndFound) {
    EXPECT_EQ(find_strategy(GetParam())->name, GetParam());
    EXPECT_FALSE(find_strategy(GetParam())->summary.empty());
    EXPECT_EQ(find_strategy("no such strategy"), nullptr);
}

TEST_P(Strategies, KeepThePromiseAndTheCapsOfEachLevel) {
    auto request = make_request(make_candidates({4, 2, 4, 1}), 6, 2, Level::kZone);
    TablePtr table = place(request);
    EXPECT_EQ(holes(*table), 0u);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kZone), 2u);
    request.caps[static_cast<usize>(Level::kRack)] = 1;
    table = place(request);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kZone), 2u);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kRack), 1u);
    // And a named cap goes before the promise.
    request.caps[static_cast<usize>(Level::kZone)] = 3;
    table = place(request);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kZone), 3u);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kRack), 1u);
}

TEST_P(Strategies, WithTooFewDomainsCopiesComeFirst) {
    auto const request = make_request(make_candidates({2, 1, 4, 1}), 6, 2, Level::kZone);
    TablePtr const table = place(request);
    EXPECT_EQ(holes(*table), 0u);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kZone), 3u);
    auto few = make_request(make_candidates({1, 1, 3, 1}), 5, 2);
    EXPECT_EQ(holes(*place(few)), few.slots * 2) << "a corelet keeps one of a slot";
}

TEST_P(Strategies, ANewcomerTakesItsShareAndALostOneLeavesItsPlacesOnly) {
    auto request = make_request(make_candidates({3, 1, 7, 1}), 5, 2);
    TablePtr const before = place(request);
    request.previous = before.get();
    EXPECT_EQ(moved(*before, *place(request)), 0u) << "nothing has happened";
    auto bigger = request;
    bigger.candidates.push_back({CoreletId(99), 100, Standing::kOpen, {"z0", "r0", "new"}});
    TablePtr const grown = place(bigger);
    u32 const share = static_cast<u32>(grown->places_of(CoreletId(99)).size());
    u32 const ideal = request.slots * 5 / 22;
    EXPECT_GT(share, ideal / 2);
    // zone-aware gives its zone no more for being larger: its neighbours hand over.
    EXPECT_LE(moved(*before, *grown), ideal * 2);
    auto smaller = request;
    CoreletId const lost = smaller.candidates[4].id;
    smaller.candidates.erase(smaller.candidates.begin() + 4);
    TablePtr const shrunk = place(smaller);
    EXPECT_FALSE(shrunk->has(lost));
    EXPECT_EQ(holes(*shrunk), 0u);
    u32 const held = static_cast<u32>(before->places_of(lost).size());
    EXPECT_LE(moved(*before, *shrunk), held * 11 / 10 + 2);
}

TEST_P(Strategies, LeaversGiveTheirPlacesToOthersWhereThereAreSuch) {
    auto request = make_request(make_candidates({1, 1, 6, 1}), 3, 1);
    TablePtr const before = place(request);
    request.previous = before.get();
    request.candidates[2].standing = Standing::kLeave;
    EXPECT_FALSE(place(request)->has(CoreletId(3)));
    auto tight = make_request(make_candidates({1, 1, 3, 1}), 3, 1);
    TablePtr const full = place(tight);
    tight.previous = full.get();
    tight.candidates[1].standing = Standing::kLeave;
    EXPECT_EQ(moved(*full, *place(tight)), 0u) << "without a replacement it stays";
    tight.candidates[1].standing = Standing::kHold;
    EXPECT_EQ(moved(*full, *place(tight)), 0u);
}

TEST_P(Strategies, FillOnlyFillsOnly) {
    auto request = make_request(make_candidates({1, 1, 8, 1}), 4, 1);
    TablePtr const before = place(request);
    request.previous = before.get();
    request.fill_only = true;
    u32 const held = static_cast<u32>(before->places_of(CoreletId(2)).size());
    request.candidates.erase(request.candidates.begin() + 1);
    request.candidates.push_back({CoreletId(99), 100, Standing::kOpen, {"z0", "r0", "new"}});
    TablePtr const table = place(request);
    EXPECT_EQ(moved(*before, *table), held);
    EXPECT_EQ(holes(*table), 0u);
}

TEST_P(Strategies, SlotsDoubleWithoutMoving) {
    auto request = make_request(make_candidates({1, 1, 8, 1}), 4, 1);
    TablePtr const before = place(request);
    request.previous = before.get();
    request.slots *= 2;
    EXPECT_EQ(moved(*before, *place(request)), 0u);
}

TEST_P(Strategies, SlowForAThousandCorelets) {
    auto const request = make_request(make_candidates({10, 10, 10, 1}), 14, 4, Level::kRack);
    ASSERT_EQ(request.slots, k_slots_max);
    TablePtr const table = place(request);
    EXPECT_EQ(holes(*table), 0u);
    EXPECT_LE(most_in_a_domain(request, *table, Level::kRack), 4u);
}

INSTANTIATE_TEST_SUITE_P(All, Strategies, ::testing::Values("balanced", "locality", "random", "zone-aware"));

TEST(ZoneAware, ZonesShareAlikeWhateverTheyHold) {
    auto candidates = make_candidates({3, 1, 6, 1});
    for (Candidate& c : candidates)
        if (c.location.zone == "z0") c.weight = 500;
    auto const request = make_request(candidates, 6, 2, Level::kZone);
    for (std::string_view name : {"zone-aware", "balanced"}) {
        Placement const placement = find_strategy(name)->place(request);
        std::map<std::string, u32> held;
        for (CoreletId id : placement.cells) ++held[candidates[id.v - 1].location.zone];
        EXPECT_EQ(held["z0"], request.slots * 2)
            << "two of six in each zone: here the cap leaves no choice, to either";
    }
    auto const loose = make_request(candidates, 4, 4, Level::kZone);
    std::map<std::string_view, u32> first_zone;
    for (std::string_view name : {"zone-aware", "balanced"}) {
        for (CoreletId id : find_strategy(name)->place(loose).cells)
            first_zone[name] += candidates[id.v - 1].location.zone == "z0";
    }
    EXPECT_NEAR(first_zone["zone-aware"], loose.slots * 4 / 3, 2);
    EXPECT_GT(first_zone["balanced"], loose.slots * 2);
}

TEST(Random, SharesFollowWeightsOnAverage) {
    auto candidates = make_candidates({1, 1, 40, 1});
    for (usize i = 0; i < 20; ++i) candidates[i].weight = 200;
    auto request = make_request(candidates, 3, 1);
    request.slots = 16'384;
    std::map<CoreletId, u32> held;
    for (CoreletId id : find_strategy("random")->place(request).cells) ++held[id];
    double light = 0, heavy = 0;
    for (auto const& [id, count] : held) (id.v <= 20 ? heavy : light) += count;
    // Drawn without putting back, the heavy ones get a little less than twice as much.
    EXPECT_NEAR(heavy / light, 1.98, 0.03);
    for (auto const& [id, count] : held)
        EXPECT_NEAR(count, (id.v <= 20 ? heavy : light) / 20, (id.v <= 20 ? heavy : light) / 20 / 8) << id.v;
}

// Every corelet, in every version, must draw the same.
TEST(Strategy, GoldenTables) {
    std::map<std::string_view, u32> const golden{
        {"balanced", 1030034223}, {"locality", 1030034223}, {"random", 4265573374}, {"zone-aware", 1253497573}};
    for (const Strategy& strategy : strategies()) {
        auto candidates = make_candidates({3, 2, 4, 1});
        for (usize i = 0; i < candidates.size(); ++i) candidates[i].weight = static_cast<u32>(50 + 7 * i);
        auto const request = make_request(candidates, 6, 2);
        auto const cells = strategy.place(request).cells;
        std::vector<u8> bytes;
        for (CoreletId id : cells) bytes.push_back(static_cast<u8>(id.v));
        auto const known = golden.find(strategy.name);
        EXPECT_EQ(crc32c(bytes), known == golden.end() ? 0 : known->second) << strategy.name;
    }
}

}  // namespace
}  // namespace corelet::mesh
