#include "node/loss_budget.h"

#include "base/prng.h"
#include "mesh/mesh_testing.h"
#include "mesh/voters.h"

namespace corelet {
namespace {

using namespace mesh::testing;

std::vector<CoreletId> ids(std::initializer_list<u64> list) {
    std::vector<CoreletId> out;
    for (u64 id : list) out.push_back(CoreletId(id));
    return out;
}

mesh::Map in_zones(u64 n, u64 zones) {
    return make_map(n, [zones](u64 id) { return "z" + std::to_string(id % zones) + "/r/c" + std::to_string(id); });
}

LossView view_of(const mesh::Map& map, std::vector<CoreletId> voters) {
    return LossView{map, std::move(voters), {}, {}, {}, {}, {}};
}

// A stream in the first pool with one open segment.
LossView::Stream stream_on(std::vector<CoreletId> replicas, bool ended = false) {
    return LossView::Stream{"volume v", PoolId(1), {LossView::Segment{ended, std::move(replicas)}}};
}

TEST(LossBudget, AWholeMeshCanLoseWhatItsPoolPromises) {
    mesh::Map const map = all_clean(with_pool(make_map(6), "ec:4+2"));
    LossView view = view_of(map, ids({1, 2, 3, 4, 5}));
    view.streams.push_back(stream_on(ids({1, 2, 3})));
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 2);
    EXPECT_EQ(budget.possible, 2);
    EXPECT_EQ(health_of(budget, {}), "ok");
}

TEST(LossBudget, OnlyVotersThatVoteCount) {
    mesh::Map const map = all_clean(with_pool(make_map(6), "ec:4+2"));
    LossView view = view_of(map, ids({1, 2, 3, 4, 5}));
    view.streams.push_back(stream_on(ids({1, 2, 6})));
    view.barred = {CoreletId(3)};
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 1);
    EXPECT_EQ(budget.limited_by, "catalog: 5 voters, 4 of them there");
    EXPECT_EQ(health_of(budget, {}), "degraded");
}

TEST(LossBudget, WithoutQuorumNothingMayBeLost) {
    mesh::Map const map = all_clean(with_pool(make_map(6), "ec:2+1"));
    LossView view = view_of(map, ids({1, 2, 3}));
    view.streams.push_back(stream_on(ids({4, 5})));
    view.lost = {CoreletId(1), CoreletId(2)};
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 0);
    EXPECT_EQ(budget.limited_by, "catalog: 3 voters, 1 of them there");
    EXPECT_EQ(health_of(budget, {}), "unavailable")
        << "two of six are silent: some slot of 2+1 has one fragment left";
}

TEST(LossBudget, WhatHealingMissesCountsThoughTheTableIsWhole) {
    mesh::Map const map = all_clean(with_pool(make_map(6), "rep:3"));
    LossView view = view_of(map, ids({1, 2, 3, 4, 5}));
    view.streams.push_back(stream_on(ids({1, 2, 3})));
    view.degraded.push_back({PoolId(1), ids({4, 5})});
    EXPECT_EQ(loss_budget(view).can_lose, 1);
    EXPECT_EQ(loss_budget(view).limited_by, "pool main: fragments not yet rebuilt");
    view.degraded.push_back({PoolId(1), ids({6})});
    EXPECT_EQ(loss_budget(view).can_lose, 0);
    EXPECT_EQ(health_of(loss_budget(view), {}), "at_risk");
    view.degraded.push_back({PoolId(1), {}});
    EXPECT_TRUE(loss_budget(view).unreadable);
    EXPECT_EQ(health_of(loss_budget(view), {}), "unavailable");
}

TEST(LossBudget, WhoCameUpAndHasNotComparedIsNotTrustedButReadable) {
    mesh::Map const map = all_clean(with_pool(make_map(3), "rep:3"));
    LossView view = view_of(map, ids({1, 2, 3}));
    view.streams.push_back(stream_on(ids({1, 2, 3})));
    EXPECT_EQ(loss_budget(view).can_lose, 1);
    for (u64 id : {1, 2, 3}) view.unproven.insert({PoolId(1), CoreletId(id)});
    EXPECT_EQ(loss_budget(view).can_lose, 0);
    EXPECT_FALSE(loss_budget(view).unreadable) << "they may well have it";
}

TEST(LossBudget, TheLogNeedsItsLeastCopiesAfterTheLoss) {
    mesh::Map map = make_map(3);
    for (u64 id = 11; id <= 15; ++id)
        map = with_corelet(map, make_corelet(id, "w/r/c" + std::to_string(id), mesh::Role::kWitness));
    map = all_clean(with_pool(map, "rep:3"));
    LossView view = view_of(map, ids({11, 12, 13, 14, 15}));
    view.streams.push_back(stream_on(ids({1, 2, 3})));
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 1) << "with one of three left, writes would wait for a second copy";
    EXPECT_EQ(budget.limited_by, "pool main: its log needs 2 corelets");
    EXPECT_EQ(budget.possible, 1);
    EXPECT_EQ(health_of(budget, {}), "ok");
}

TEST(LossBudget, ANarrowSegmentIsAtRisk) {
    mesh::Map const map = all_clean(with_pool(make_map(6), "rep:3"));
    LossView view = view_of(map, ids({1, 2, 3, 4, 5}));
    view.streams.push_back(stream_on(ids({1, 2})));
    EXPECT_EQ(loss_budget(view).can_lose, 1);
    EXPECT_EQ(health_of(loss_budget(view), {}), "at_risk");
}

TEST(LossBudget, ASegmentNotYetPackedCountsByTheCopiesThatAreThere) {
    mesh::Map map = all_clean(with_pool(make_map(6), "rep:3"));
    map = after(map, mesh::CoreletDown{CoreletId(2), Incarnation(1)});
    LossView view = view_of(map, ids({1, 3, 4, 5, 6}));
    view.streams.push_back(stream_on(ids({1, 2, 3}), true));
    view.lost = {CoreletId(3)};
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 0);
    EXPECT_EQ(budget.limited_by, "pool main: fragments");
    view.lost.insert(CoreletId(1));
    EXPECT_EQ(loss_budget(view).unreadable_what, "pool main");
}

TEST(LossBudget, PoolsWithoutAStreamHoldNothing) {
    mesh::Map map = with_pool(make_map(6), "rep:1");
    map = with_pool(map, "rep:3", mesh::Level::kCorelet, "used");
    LossView view = view_of(map, ids({1, 2, 3, 4, 5}));
    LossView::Stream stream = stream_on(ids({1, 2, 3}));
    stream.pool = PoolId(2);
    view.streams.push_back(stream);
    EXPECT_EQ(loss_budget(view).can_lose, 2);
}

TEST(LossBudget, AMeshOfOneIsOkAndCanLoseNothing) {
    mesh::Map const map = all_clean(with_pool(make_map(1), "rep:1"));
    LossView view = view_of(map, ids({1}));
    view.streams.push_back(stream_on(ids({1})));
    LossBudget const budget = loss_budget(view);
    EXPECT_EQ(budget.can_lose, 0);
    EXPECT_EQ(budget.possible, 0);
    EXPECT_EQ(health_of(budget, {}), "ok");
}

TEST(LossBudget, Health) {
    LossBudget budget;
    budget.can_lose = budget.possible = 2;
    EXPECT_EQ(health_of(budget, {}), "ok");
    EXPECT_EQ(health_of(budget, {.unserved = false, .unfinished = true}), "degraded");
    budget.can_lose = 1;
    EXPECT_EQ(health_of(budget, {}), "degraded");
    budget.can_lose = 0;
    EXPECT_EQ(health_of(budget, {}), "at_risk");
    EXPECT_EQ(health_of(budget, {.unserved = true, .unfinished = true}), "unavailable");
}

TEST(LossBudget, APoolSaysWhatTheMeshCanLoseWithIt) {
    mesh::Map const three = with_pool(make_map(3), "rep:3");
    EXPECT_EQ(pool_promise(three, three.pools[0]).can_lose, 1);
    EXPECT_EQ(pool_promise(three, three.pools[0]).limited_by, "pool main: its log needs 2 corelets");
    mesh::Map const two = with_pool(make_map(2), "rep:2");
    EXPECT_EQ(pool_promise(two, two.pools[0]).can_lose, 0);
    EXPECT_EQ(pool_promise(two, two.pools[0]).limited_by, "catalog: 1 voter");
    mesh::Map const eight = with_pool(make_map(8), "ec:4+2");
    EXPECT_EQ(pool_promise(eight, eight.pools[0]).can_lose, 2);
}

TEST(LossBudget, ACatalogOutsideTheMeshIsNoTerm) {
    mesh::Map const two = all_clean(with_pool(make_map(2), "rep:2"));
    EXPECT_EQ(pool_promise(two, two.pools[0], false).can_lose, 1);
    LossView view = view_of(two, {});
    view.own_catalog = false;
    EXPECT_EQ(loss_budget(view).can_lose, 1) << "nothing is stored, but somebody has to serve";
    EXPECT_EQ(loss_budget(view).limited_by, "a corelet that serves");
    view.streams.push_back(stream_on(ids({1, 2})));
    EXPECT_EQ(loss_budget(view).can_lose, 1);
    EXPECT_EQ(loss_budget(view).possible, 1);
    view.lost = {CoreletId(1)};
    EXPECT_EQ(loss_budget(view).can_lose, 0);
}

// --- exact over all subsets
// -------------------------------------------------------------------------------------------------

// A mesh with things stored in it, each named one by one: by definition, what is left after a loss?
struct Stored {
    mesh::Map map;
    std::vector<CoreletId> voters;
    struct Chunk {
        usize pool;
        std::vector<CoreletId> holders;  // by position; nobody where none is
    };
    std::vector<Chunk> chunks;
    std::vector<LossView::Stream> streams;
    std::set<CoreletId> lost, barred;

    [[nodiscard]] bool there(CoreletId id, const std::set<CoreletId>& gone) const {
        return map.is_up(id) && !lost.contains(id) && !gone.contains(id);
    }
    [[nodiscard]] usize count(const std::vector<CoreletId>& list, const std::set<CoreletId>& gone) const {
        return static_cast<usize>(
            std::count_if(list.begin(), list.end(), [&](CoreletId id) { return there(id, gone); }));
    }
    [[nodiscard]] bool is_fine_without(const std::set<CoreletId>& gone) const {
        usize votes = 0;
        for (CoreletId id : voters) votes += there(id, gone) && !barred.contains(id);
        if (votes < voters.size() / 2 + 1) return false;
        for (const Chunk& chunk : chunks)
            if (count(chunk.holders, gone) < map.pools[chunk.pool].spec.redundancy.k) return false;
        std::vector<CoreletId> stores;
        for (const mesh::Corelet& corelet : map.corelets)
            if (corelet.role == mesh::Role::kStorage) stores.push_back(corelet.id);
        for (const LossView::Stream& stream : streams) {
            if (count(stores, gone) < map.find(stream.pool)->spec.copies_min()) return false;
            for (const LossView::Segment& segment : stream.segments)
                if (count(segment.replicas, gone) == 0) return false;
        }
        return true;
    }
    // The largest number of groups of which any may go; -1: it is not fine now.
    [[nodiscard]] int truth(const std::vector<std::set<CoreletId>>& groups) const {
        int worst = INT_MAX;
        for (u32 subset = 0; subset < 1U << groups.size(); ++subset) {
            std::set<CoreletId> gone;
            for (usize i = 0; i < groups.size(); ++i)
                if (subset >> i & 1U) gone.insert(groups[i].begin(), groups[i].end());
            if (!is_fine_without(gone)) worst = std::min(worst, std::popcount(subset) - 1);
        }
        return worst;
    }
};

Stored draw_stored(Prng& rng) {
    Stored out;
    u64 const n = rng.between(3, 7), zones = rng.between(2, 4), witnesses = rng.below(3);
    out.map = in_zones(n, zones);
    for (u64 id = 21; id < 21 + witnesses; ++id)
        out.map = with_corelet(
            out.map,
            make_corelet(id, "z" + std::to_string(id % zones) + "/r/w" + std::to_string(id), mesh::Role::kWitness));
    static constexpr std::array<const char*, 4> k_pools{"rep:2", "rep:3", "ec:2+1", "rep:1"};
    out.map = with_pool(out.map, k_pools[rng.below(k_pools.size())], mesh::Level::kCorelet, "a");
    out.map = with_pool(out.map, k_pools[rng.below(k_pools.size())], mesh::Level::kZone, "b");
    if (rng.chance(1, 3)) out.map = after(out.map, mesh::CoreletDown{CoreletId(rng.between(1, n)), Incarnation(1)});
    if (rng.chance(1, 4)) out.lost.insert(CoreletId(rng.between(1, n)));
    for (const mesh::Corelet& corelet : out.map.corelets) out.voters.push_back(corelet.id);
    while (out.voters.size() > 5 || out.voters.size() % 2 == 0)
        out.voters.erase(out.voters.begin() + static_cast<i64>(rng.below(out.voters.size())));
    if (rng.chance(1, 5)) out.barred.insert(out.voters[rng.below(out.voters.size())]);
    for (usize p = 0; p < out.map.pools.size(); ++p) {
        const mesh::Pool& pool = out.map.pools[p];
        if (rng.chance(1, 4)) continue;  // nothing in it
        for (u32 slot = 0; slot < pool.current().slots(); ++slot)
            out.chunks.push_back({p, pool.current().row(slot)});
        for (u64 i = rng.below(4); i != 0; --i) {
            auto holders = pool.current().row(static_cast<u32>(rng.below(pool.current().slots())));
            holders[rng.below(holders.size())] = CoreletId{};
            out.chunks.push_back({p, std::move(holders)});
        }
        LossView::Stream stream{"volume", pool.id, {}};
        for (u64 i = rng.between(1, 3); i != 0; --i) {
            LossView::Segment segment{rng.chance(1, 2), {}};
            for (u64 id = 1; id <= n; ++id)
                if (segment.replicas.size() < pool.spec.redundancy.m + 1U && rng.chance(2, 3))
                    segment.replicas.push_back(CoreletId(id));
            if (!segment.replicas.empty()) stream.segments.push_back(std::move(segment));
        }
        out.streams.push_back(std::move(stream));
    }
    return out;
}

TEST(LossBudget, IsExactOverAllSubsets) {
    Prng rng(2311);
    int positive = 0, negative = 0;
    for (int round = 0; round < 400; ++round) {
        Stored const stored = draw_stored(rng);
        LossView view = view_of(stored.map, stored.voters);
        view.lost = stored.lost;
        view.barred = stored.barred;
        view.streams = stored.streams;
        for (const Stored::Chunk& chunk :
             stored.chunks)  // what healing would report: those that lack one where the table has somebody
            if (std::any_of(chunk.holders.begin(), chunk.holders.end(), [](CoreletId id) { return id.is_zero(); }))
                view.degraded.push_back({stored.map.pools[chunk.pool].id, chunk.holders});
        std::vector<std::set<CoreletId>> corelets;
        std::map<std::string, std::set<CoreletId>> zones;
        for (const mesh::Corelet& corelet : stored.map.corelets) {
            corelets.push_back({corelet.id});
            zones[corelet.location.zone].insert(corelet.id);
        }
        std::vector<std::set<CoreletId>> whole_zones;
        for (auto& [name, members] : zones) whole_zones.push_back(members);
        LossBudget const budget = loss_budget(view);
        int const truth = stored.truth(corelets), zone_truth = stored.truth(whole_zones);
        ASSERT_EQ(budget.can_lose, std::max(truth, 0)) << "round " << round << ", " << budget.limited_by;
        ASSERT_EQ(budget.can_lose_zones, std::max(zone_truth, 0))
            << "round " << round << ", " << budget.zones_limited_by;
        positive += truth > 0;
        negative += truth < 0;
    }
    EXPECT_GT(positive, 50);
    EXPECT_GT(negative, 20);
}

}  // namespace
}  // namespace corelet
