#include "mesh/map_news.h"

#include <gtest/gtest.h>

#include "mesh/membership_testing.h"

namespace corelet::mesh {
namespace {

MapStep step(u64 from, u64 to, usize bytes = 100) {
    return {MapEpoch(from), MapEpoch(to), std::vector<u8>(bytes, static_cast<u8>(to))};
}

GossipMessage message(usize observations = 0) {
    GossipMessage out{k_mesh, CoreletId(1), {Incarnation(1), 7, 9}, MapEpoch(9), 1, false, 0, {}, {}, {}};
    for (usize i = 0; i < observations; ++i)
        out.observations.push_back(
            {CoreletId(100 + i), {Incarnation(1), ~u64{0}, 1'000'000}, 100, CoreletId(2), 5});
    return out;
}

// The epochs that the deltas of the message lead to.
std::vector<u64> told(const MapNews& news, u64 theirs, GossipMessage to = message()) {
    news.add_to(to, MapEpoch(theirs));
    EXPECT_LE(encode_gossip(to).size(), k_gossip_bytes_max);
    std::vector<u64> out;
    for (auto const& delta : to.map_deltas) out.push_back(delta.at(0));
    return out;
}

TEST(MapNews, TellsWhatLeadsOnFromWhatAPeerShowed) {
    MapNews news;
    news.map_changed(MapEpoch(5), {});
    news.map_changed(MapEpoch(8), {step(5, 6), step(6, 7), step(7, 8)});
    EXPECT_EQ(told(news, 6), (std::vector<u64>{7, 8}));
    EXPECT_EQ(told(news, 5), (std::vector<u64>{6, 7, 8}));
    EXPECT_EQ(told(news, 8), (std::vector<u64>{}));
    EXPECT_EQ(told(news, 9), (std::vector<u64>{}));
    EXPECT_EQ(told(news, 2), (std::vector<u64>{8})) << "last heard of long ago: the last step may do";
}

TEST(MapNews, WhoWasNotHeardOfIsTakenToKnowWhatWasToldBefore) {
    MapNews news;
    Instant const now{1'000'000'000};
    news.map_changed(MapEpoch(5), {});
    news.map_changed(MapEpoch(6), {step(5, 6)});
    ASSERT_TRUE(news.round_due());
    news.round_begun(now);
    EXPECT_FALSE(news.round_due());
    EXPECT_EQ(told(news, 0), (std::vector<u64>{6}));
    news.map_changed(MapEpoch(8), {step(5, 6), step(6, 7), step(7, 8)});
    EXPECT_EQ(news.round_due(), now + MapNews::k_round_every) << "what comes quickly goes in one round";
    news.round_begun(now + 100_ms);
    EXPECT_EQ(told(news, 0), (std::vector<u64>{7, 8}));
    EXPECT_EQ(told(news, 5), (std::vector<u64>{6, 7, 8})) << "it showed what it has";
}

TEST(MapNews, TheFirstMapIsNone) {
    MapNews news;
    news.map_changed(MapEpoch(5), {step(4, 5)});
    EXPECT_FALSE(news.round_due());
    news.map_changed(MapEpoch(5), {});
    EXPECT_FALSE(news.round_due()) << "the same again";
}

TEST(MapNews, GoesAsFarAsThereIsRoom) {
    MapNews news;
    news.map_changed(MapEpoch(1), {});
    std::vector<MapStep> steps;
    for (u64 epoch = 2; epoch <= 12; ++epoch) steps.push_back(step(epoch - 1, epoch, 200));
    news.map_changed(MapEpoch(12), steps);
    EXPECT_EQ(told(news, 4), (std::vector<u64>{5, 6, 7, 8, 9, 10}))
        << "oldest first: who gets some of it is nearer";
    EXPECT_EQ(told(news, 1), (std::vector<u64>{12})) << "only the last eight are kept";
    EXPECT_LT(told(news, 8, message(k_observations_max)).size(), told(news, 8).size());
}

TEST(MembershipNews, ANewEpochReachesAllWithinSecondsByMessagesAlone) {
    for (unsigned n : {3, 9, 100}) {
        Meshes mesh(n);
        mesh.run(5_s);
        mesh.change_map(n / 2, 120);
        mesh.run(3_s);
        EXPECT_EQ(mesh.count_at(MapEpoch(2)), n);
        EXPECT_EQ(mesh.fetches, 0u);
    }
}

TEST(MembershipNews, LossDelaysItOnly) {
    Meshes mesh(40);
    mesh.run(5_s);
    mesh.loss_percent = 20;
    for (int i = 0; i < 5; ++i) {
        mesh.change_map(static_cast<unsigned>(i), 120);
        mesh.run(20_ms);
    }
    mesh.run(5_s);
    EXPECT_EQ(mesh.count_at(MapEpoch(6)), 40u);
}

// Too large for a message: that there is something new goes round all the same.
TEST(MembershipNews, LargeChangesAreFetched) {
    Meshes mesh(40);
    mesh.fetches_maps = true;
    mesh.run(5_s);
    mesh.change_map(7, 5000);
    mesh.run(5_s);
    EXPECT_EQ(mesh.count_at(MapEpoch(2)), 40u);
    EXPECT_GE(mesh.fetches, 39u);
}

TEST(MembershipNews, ARoundCostsFewMessages) {
    Meshes mesh(50);
    mesh.run(5_s);
    u64 const before = mesh.sent;
    mesh.run(10_s);
    u64 const at_rest = mesh.sent - before;
    mesh.change_map(3, 120);
    mesh.run(10_s);
    EXPECT_LE(mesh.sent - before - 2 * at_rest, 50u * (MembershipConfig{}.told_at_once + 1));
}

}  // namespace
}  // namespace corelet::mesh
