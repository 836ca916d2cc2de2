#include "node/health_findings.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using namespace mesh::testing;

TEST(HealthFindings, WhoIsReachedByOthersIsNamedWithOneOfThem) {
    mesh::PeerView peer;
    peer.id = CoreletId(2);
    EXPECT_EQ(reachable_finding(peer, CoreletId(1)), Finding::healthy());
    peer.health = mesh::PeerHealth::kIndirect;
    peer.via = CoreletId(3);
    EXPECT_EQ(reachable_finding(peer, CoreletId(1)),
              Finding::degraded("not from corelet 0000000000000001, but through 0000000000000003"));
    peer.health = mesh::PeerHealth::kSuspected;
    peer.silence = 2300_ms;
    EXPECT_EQ(reachable_finding(peer, CoreletId(1)),
              Finding::degraded("none of its observers reaches it, silent for 2.3 s"));
    peer.health = mesh::PeerHealth::kDown;
    EXPECT_EQ(reachable_finding(peer, CoreletId(1)).state, HealthState::kFailed);
}

TEST(HealthFindings, ALoopThatWasLateIsToldForAWhile) {
    EXPECT_EQ(loop_finding(499_ms, {}).state, HealthState::kHealthy);
    EXPECT_EQ(loop_finding(2500_ms, 1_s), Finding::degraded("its loop stood still for 2.5 s"));
    EXPECT_EQ(loop_finding(2500_ms, 10_s).state, HealthState::kHealthy);
}

TEST(HealthFindings, FullIsNotBroken) {
    SpaceUse space;
    EXPECT_EQ(space_finding(space).state, HealthState::kHealthy) << "a witness";
    space.capacity_bytes = 1000 * k_mib;
    space.used_bytes = 950 * k_mib;
    EXPECT_EQ(space_finding(space).state, HealthState::kHealthy);
    space.reserved_bytes = k_mib;
    EXPECT_EQ(space_finding(space), Finding::degraded("nearly full: 49 MiB of 1000 MiB are left for clients"));
    space.system_reserve_bytes = 50 * k_mib;
    EXPECT_EQ(space_finding(space), Finding::degraded("full: 0 MiB of 1000 MiB are left for clients"));
}

TEST(HealthFindings, WhatFindsNoRoomIsCounted) {
    EXPECT_EQ(room_finding(false, 7, 7 * k_mib).state, HealthState::kHealthy) << "it is on its way";
    Finding const full = room_finding(true, 7, 7 * k_mib - 1);
    EXPECT_EQ(full.state, HealthState::kDegraded);
    EXPECT_TRUE(full.reason.starts_with("no room for 7 fragments (7 MiB) that belong here")) << full.reason;
}

TEST(HealthFindings, AWriteThatDoesNotReturn) {
    EXPECT_EQ(stuck_finding(1999_ms).state, HealthState::kHealthy);
    EXPECT_EQ(stuck_finding(2_s).state, HealthState::kDegraded);
    EXPECT_EQ(stuck_finding(30_s).state, HealthState::kFailed);
    EXPECT_EQ(error_finding(0, 0).state, HealthState::kHealthy);
    EXPECT_EQ(error_finding(1, 0).state, HealthState::kDegraded);
    EXPECT_EQ(error_finding(0, 1).state, HealthState::kDegraded);
}

TEST(HealthFindings, AVolumeByItsOwnersWord) {
    EXPECT_EQ(volume_serving("nbd+unix:///v", ""), Finding::healthy());
    EXPECT_EQ(volume_serving("", "in use"), Finding::failed("it has no export: in use"));
    EXPECT_EQ(volume_serving("", ""), std::nullopt);
    StreamStatus stream;
    stream.width_wanted = 3;
    EXPECT_EQ(volume_storing(stream).state, HealthState::kHealthy) << "nothing is open";
    stream.open_seq = 7;
    stream.open_segment = {CoreletId(1), CoreletId(2)};
    EXPECT_EQ(volume_storing(stream), Finding::degraded("its log has 2 of 3 copies"));
    stream.waiting_for = "room";
    EXPECT_EQ(volume_storing(stream), Finding::degraded("its log wants room"));
    stream.stuck = true;
    EXPECT_EQ(volume_storing(stream), Finding::failed("writes wait for room"));
}

TEST(HealthFindings, APoolByTheMap) {
    mesh::Map map = with_pool(make_map(6), "ec:2+1");
    EXPECT_EQ(pool_finding(map, map.pools[0]), Finding::healthy());
    EXPECT_EQ(mesh_finding(map), Finding::healthy());
    map = after(map, mesh::CoreletDown{CoreletId(4), Incarnation(1)});
    EXPECT_EQ(pool_finding(map, map.pools[0]).state, HealthState::kDegraded);
    EXPECT_EQ(mesh_finding(map), Finding::degraded("1 of 6 corelets are down"));
    EXPECT_EQ(presence_finding(*map.find(CoreletId(4))).state, HealthState::kFailed);
    EXPECT_EQ(presence_finding(*map.find(CoreletId(5))).state, HealthState::kHealthy);
    map = after(map, mesh::CoreletDown{CoreletId(5), Incarnation(1)});
    EXPECT_EQ(pool_finding(map, map.pools[0]).state, HealthState::kFailed);
}

}  // namespace
}  // namespace corelet
