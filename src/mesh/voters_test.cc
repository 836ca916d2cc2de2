#include "mesh/voters.h"

#include <set>

#include "base/prng.h"
#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

// Takes steps until there is nothing to do; fails if that never comes.
std::vector<CoreletId> settle(const Map& map, std::vector<CoreletId> voters, usize least_seen_allowed = 1) {
    for (int step = 0; step < 50; ++step) {
        auto const change = next_voter_change(map, voters);
        if (!change) return voters;
        if (change->kind == VoterChange::Kind::kAdd) {
            EXPECT_EQ(std::count(voters.begin(), voters.end(), change->id), 0);
            EXPECT_TRUE(map.is_up(change->id));
            voters.push_back(change->id);
        } else {
            EXPECT_EQ(std::erase(voters, change->id), 1u);
        }
        EXPECT_GE(voters.size(), least_seen_allowed);
    }
    ADD_FAILURE() << "never settles";
    return voters;
}

std::set<std::string> zones(const Map& map, const std::vector<CoreletId>& voters) {
    std::set<std::string> out;
    for (CoreletId id : voters) out.insert(map.find(id)->location.zone);
    return out;
}

TEST(Voters, HowMany) {
    EXPECT_EQ(voters_wanted(first_map(MeshId(1))), 0u);
    EXPECT_EQ(voters_wanted(make_map(1)), 1u);
    EXPECT_EQ(voters_wanted(make_map(2)), 1u);
    EXPECT_EQ(voters_wanted(make_map(3)), 3u);
    EXPECT_EQ(voters_wanted(make_map(4)), 3u);
    EXPECT_EQ(voters_wanted(make_map(5)), 5u);
    EXPECT_EQ(voters_wanted(make_map(20)), 5u);
    EXPECT_EQ(voters_wanted(with_pool(make_map(20), "ec:4+3")), 7u);
    EXPECT_EQ(voters_wanted(with_pool(make_map(20), "ec:10+4")), 7u);
    EXPECT_EQ(voters_wanted(with_corelet(make_map(2), make_corelet(9, "z", Role::kWitness))), 3u);
    EXPECT_EQ(voters_wanted(with_corelet(make_map(2), make_corelet(9, "z", Role::kGateway))), 1u);
}

TEST(Voters, GrowFromOneToFiveSpreadOverZones) {
    Map const map = make_map(12, [](u64 id) { return zone_of(id, 4); });
    auto const voters = settle(map, {CoreletId(4)});
    EXPECT_EQ(voters.size(), 5u);
    EXPECT_EQ(zones(map, voters).size(), 4u);
}

TEST(Voters, WitnessesFirst) {
    Map map = make_map(6);
    map = with_corelet(map, make_corelet(50, "w/r/c", Role::kWitness));
    map = with_corelet(map, make_corelet(51, "w/r/d", Role::kWitness));
    auto const voters = settle(map, {CoreletId(1)});
    EXPECT_EQ(voters.size(), 5u);
    EXPECT_EQ(std::count(voters.begin(), voters.end(), CoreletId(50)), 1);
    EXPECT_EQ(std::count(voters.begin(), voters.end(), CoreletId(51)), 1);
}

TEST(Voters, TheLostAreReplacedFirstAddedThenRemoved) {
    Map map = make_map(6);
    auto const voters = settle(map, {CoreletId(1)});
    ASSERT_EQ(voters.size(), 5u);
    CoreletId const lost = voters[2];
    map = after(map, CoreletDown{lost, Incarnation(1)});
    EXPECT_EQ(next_voter_change(map, voters), std::nullopt) << "down is not lost yet";
    map = after(map, CoreletOut{lost, true});
    auto const change = next_voter_change(map, voters);
    ASSERT_TRUE(change.has_value());
    EXPECT_EQ(change->kind, VoterChange::Kind::kAdd);
    auto const settled = settle(map, voters, 5);
    EXPECT_EQ(settled.size(), 5u);
    EXPECT_EQ(std::count(settled.begin(), settled.end(), lost), 0);
}

TEST(Voters, NeverBelowThreeByItself) {
    Map map = make_map(3);
    auto const voters = settle(map, {CoreletId(1)});
    ASSERT_EQ(voters.size(), 3u);
    map = after(map, CoreletOut{CoreletId(2), false});
    EXPECT_EQ(next_voter_change(map, voters), std::nullopt);
    // The operator says that it is gone for good: a mesh of two has one voter.
    map = after(map, CoreletRemoved{CoreletId(2), false});
    EXPECT_EQ(settle(map, voters).size(), 1u);
}

TEST(Voters, ShrinkWithTheMesh) {
    Map map = make_map(5);
    auto voters = settle(map, {CoreletId(1)});
    ASSERT_EQ(voters.size(), 5u);
    map = after(map, CoreletOut{CoreletId(5), false});
    voters = settle(map, voters, 3);
    EXPECT_EQ(voters.size(), 3u);
    EXPECT_EQ(std::count(voters.begin(), voters.end(), CoreletId(5)), 0);
}

TEST(Voters, ExchangeForSpreadOnlyWhenItGetsBetter) {
    Map map = make_map(3, [](u64) { return std::string("a/r/c"); });
    auto voters = settle(map, {CoreletId(1)});
    ASSERT_EQ(voters.size(), 3u);
    map = with_corelet(map, make_corelet(10, "b/r/c"));
    voters = settle(map, voters, 3);
    EXPECT_EQ(zones(map, voters), (std::set<std::string>{"a", "b"}));
    EXPECT_EQ(voters.size(), 3u);
    Map const flat = make_map(9);
    for (u64 start = 1; start <= 4; ++start) {
        std::vector<CoreletId> five;
        for (u64 id = start; id < start + 5; ++id) five.push_back(CoreletId(id));
        EXPECT_EQ(settle(flat, five), five) << "an equal group stays";
    }
}

TEST(Voters, ADrainingOneHandsOn) {
    Map map = make_map(4);
    auto voters = settle(map, {CoreletId(1)});
    map = after(map, DutyChanged{voters[0], Duty::kDrain});
    auto const settled = settle(map, voters, 3);
    EXPECT_EQ(std::count(settled.begin(), settled.end(), voters[0]), 0);
    EXPECT_EQ(settled.size(), 3u);
}

TEST(Voters, WhoLeavesDoesNotCountForHowMany) {
    Map map = make_map(5);
    auto voters = settle(map, {CoreletId(1)});
    ASSERT_EQ(voters.size(), 5u);
    map = after(map, DutyChanged{voters[2], Duty::kDrain});
    auto const settled = settle(map, voters);
    EXPECT_EQ(std::count(settled.begin(), settled.end(), voters[2]), 0);
    EXPECT_EQ(settled.size(), 3u) << "as many as a mesh of four has";
    // Down to the last one.
    Map two = make_map(2);
    auto const last = settle(after(two, DutyChanged{CoreletId(1), Duty::kDrain}), {CoreletId(1)});
    EXPECT_EQ(last, std::vector{CoreletId(2)});
}

TEST(Voters, AlwaysSettle) {
    Prng rng(31);
    for (int round = 0; round < 200; ++round) {
        u64 const n = rng.between(1, 14);
        Map map = make_map(n, [&](u64 id) { return zone_of(id, 1 + id % 4); });
        for (u64 id = 1; id <= n; ++id) {
            if (rng.chance(1, 6)) map = after(map, CoreletDown{CoreletId(id), Incarnation(1)});
            if (rng.chance(1, 8)) map = after(map, CoreletOut{CoreletId(id), false});
            if (rng.chance(1, 8))
                map = after(map, DutyChanged{CoreletId(id), rng.chance(1, 2) ? Duty::kDrain : Duty::kFailing});
        }
        std::vector<CoreletId> voters;
        for (u64 id = 1; id <= n && voters.size() < 7; ++id) {
            if (rng.chance(1, 2)) voters.push_back(CoreletId(id));
        }
        if (voters.empty()) voters.push_back(CoreletId(1));
        auto const settled = settle(map, voters);
        EXPECT_LE(settled.size(), 8u);
    }
}

}  // namespace
}  // namespace corelet::mesh
