#include "node/candidates.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using namespace mesh::testing;

// Corelets 1 to 6; 1 and 2 listen on one address, all others on addresses of their own.
mesh::Map six() {
    mesh::Map map = make_map(6);
    for (mesh::Corelet& corelet : map.corelets)
        corelet.addresses = {"tcp:10.0.0." + std::to_string(corelet.id.v <= 2 ? 1 : corelet.id.v) + ":7000"};
    return map;
}

struct Mesh {
    mesh::Map map = six();
    std::set<CoreletId> sessions{CoreletId(1), CoreletId(2), CoreletId(3),
                                 CoreletId(4), CoreletId(5), CoreletId(6)};
    CoreletId attached{1};
    std::set<CoreletId> holders{CoreletId(4), CoreletId(5)};
    [[nodiscard]] std::optional<usize> rank(u64 id) const {
        return candidate_rank({map, attached, holders, 7, [this](CoreletId who) { return sessions.contains(who); }},
                              CoreletId(id));
    }
};

TEST(Candidates, TheAttachedOneThenItsHostThenHoldersThenAll) {
    Mesh const mesh;
    EXPECT_EQ(mesh.rank(1), 0U);
    EXPECT_EQ(mesh.rank(2), 1U);
    std::set<usize> holders{*mesh.rank(4), *mesh.rank(5)}, others{*mesh.rank(3), *mesh.rank(6)};
    EXPECT_EQ(holders, (std::set<usize>{2, 3}));
    EXPECT_EQ(others, (std::set<usize>{4, 5}));
}

TEST(Candidates, WhoHasNoSessionIsNotWaitedFor) {
    Mesh mesh;
    mesh.sessions.erase(CoreletId(1));
    EXPECT_EQ(mesh.rank(2), 0U);
    mesh.sessions.erase(CoreletId(2));
    EXPECT_EQ(std::min(*mesh.rank(4), *mesh.rank(5)), 0U);
}

TEST(Candidates, WhoDrainsFailsOrIsAWitnessComesNever) {
    Mesh mesh;
    mesh.map.corelets[0].duty = mesh::Duty::kFailing;
    mesh.map.corelets[1].duty = mesh::Duty::kDrain;
    mesh.map.corelets[2].role = mesh::Role::kWitness;
    mesh.map.corelets[3].presence = mesh::Presence::kOut;
    for (u64 id = 1; id <= 4; ++id) EXPECT_EQ(mesh.rank(id), std::nullopt) << id;
    EXPECT_EQ(mesh.rank(5), 0U);
    EXPECT_EQ(mesh.rank(6), 1U);
    EXPECT_EQ(mesh.rank(9), std::nullopt) << "not in the map";
}

TEST(Candidates, WhoHasASlowDeviceComesAfterTheOthersOfItsHost) {
    Mesh const mesh;
    auto const rank = [&](u64 id, std::set<CoreletId> slow) {
        return candidate_rank({mesh.map, mesh.attached, mesh.holders, 7,
                               [&](CoreletId who) { return mesh.sessions.contains(who); }, std::move(slow)},
                              CoreletId(id));
    };
    EXPECT_EQ(rank(2, {CoreletId(1)}), 0U);
    EXPECT_EQ(rank(1, {CoreletId(1)}), 1U) << "clients find it there";
    EXPECT_EQ(rank(1, {CoreletId(4)}), 0U);
    EXPECT_EQ(rank(4, {CoreletId(4)}), 5U);
}

TEST(Candidates, EachHasARankOfItsOwnWhicheverVolumeItIs) {
    Mesh mesh;
    mesh.attached = CoreletId{};
    mesh.holders.clear();
    std::set<usize> ranks;
    for (u64 id = 1; id <= 6; ++id) ranks.insert(*mesh.rank(id));
    EXPECT_EQ(ranks.size(), 6U);
}

TEST(Candidates, SocketsOfOneMachineAreOneHost) {
    mesh::Corelet a = make_corelet(1, "z1/r/c1"), b = make_corelet(2, "z2/r/c2");
    EXPECT_FALSE(same_host(a, b));
    a.addresses = {"unix:/run/lab/1/socket"};
    b.addresses = {"unix:/run/lab/2/socket"};
    EXPECT_TRUE(same_host(a, b));
    a.addresses = b.addresses = {};
    EXPECT_FALSE(same_host(a, b));
    b.location = a.location;
    EXPECT_TRUE(same_host(a, b));
}

}  // namespace
}  // namespace corelet
