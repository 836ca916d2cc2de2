#include <gtest/gtest.h>

#include <algorithm>

#include "device/layout.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

TEST(MeshSim, EightComeUpAndAgreeOnVotersAndPools) {
    sim::World world(2);
    SimMeshOptions options;
    options.corelets = 8;
    options.zones = 4;
    SimMesh mesh(world, options);
    ASSERT_TRUE(mesh.up()) << why(world);
    std::string error;
    EXPECT_FALSE(mesh.command("pool.create", R"({"name":"wide","redundancy":"ec:8+2"})", &error));
    EXPECT_NE(error.find("10"), std::string::npos) << error;
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:4+2"})", &error))
        << error << why(world);
    EXPECT_FALSE(mesh.command("pool.create", R"({"name":"p","redundancy":"rep:2"})", &error))
        << "a name is given once";
    bool const voters =
        world.run_until([&] { return mesh.node(0)->services().catalog->voters().size() == 5; }, 60_s);
    EXPECT_TRUE(voters) << "2 x promise + 1" << why(world);
    EXPECT_FALSE(world.failed()) << why(world);
}

TEST(MeshSim, ThreeComeUpAndServeAVolume) {
    sim::World world(1);
    SimMesh mesh(world, {});
    ASSERT_TRUE(mesh.up()) << why(world);
    std::string error;
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:2+1"})", &error))
        << error << why(world);
    ASSERT_TRUE(mesh.command("volume.create", R"({"name":"v","pool":"p","size_bytes":67108864})", &error)) << error;
    ASSERT_TRUE(mesh.command("volume.attach", R"({"name":"v"})", &error)) << error << why(world);
    auto const server = mesh.server_of("v");
    ASSERT_TRUE(server.has_value());
    auto const device = mesh.device("v");
    for (u64 i = 0; i < 20; ++i) {
        auto const written =
            world.run(mesh.machine(*server), device->write(i * k_mib, BufferChain(pattern(i, 256 * 1024)), false));
        ASSERT_TRUE(written && *written) << why(world);
    }
    for (u64 i = 0; i < 20; ++i) {
        auto const read = world.run(mesh.machine(*server), device->read(i * k_mib, 256 * 1024));
        ASSERT_TRUE(read && *read) << why(world);
        EXPECT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(i, 256 * 1024).bytes()));
    }
    EXPECT_FALSE(world.failed()) << why(world);
}

TEST(MeshSim, TheOwnerDiesAndAnotherServesEverythingAcknowledged) {
    Ready r(3, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 100)) << why(r.world);
    auto const owner = *r.mesh.server_of("v");
    r.mesh.machine(owner).crash();
    ASSERT_TRUE(r.world.run_until([&] { return r.mesh.server_of("v").has_value(); }, 30_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 100)) << why(r.world);
    EXPECT_TRUE(fill(r.mesh, "v", 100, 50)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 150)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(MeshSim, AReplicaDiesAndTheOwnerRollsAtOnce) {
    Ready r(4, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 20)) << why(r.world);
    auto const owner = *r.mesh.server_of("v");
    auto const open = r.mesh.node(owner)->services().volumes->owned().at("v").stream.open_segment;
    r.world.run_for(3_s);
    for (CoreletId id : open)
        if (auto const i = r.mesh.index_of(id); i && *i != owner) r.mesh.machine(*i).crash();
    auto const before = r.world.now();
    ASSERT_TRUE(fill(r.mesh, "v", 20, 1)) << why(r.world);
    EXPECT_LT((r.world.now() - before).ms(), 1000) << why(r.world);
    ASSERT_TRUE(fill(r.mesh, "v", 21, 50)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 71)) << why(r.world);
}

Task<void> prepare(ReplicaPort* port, CoreletId replica, ReplicaPort::PrepareRequest request) {
    (void)co_await port->prepare(replica, std::move(request));
}

// An owner that waits no longer for a slow device drops what it has asked for.
TEST(MeshSim, WhatIsDroppedWhileItIsPreparedIsNotLeftBehind) {
    Ready r(62, six(), "rep:3");
    ReplicaPort& port = *r.mesh.node(0)->services().replica_port;
    const Store& store = *r.mesh.node(1)->services().store;
    CoreletId const replica = r.mesh.id(1);
    ReplicaPort::PrepareRequest request;
    request.segment = LogSegment{SegmentId{SpaceId(777), 1}, 5, {replica}};
    request.epoch = Epoch(1);
    r.mesh.machine(1).media().find(r.mesh.device_path(1))->faults.slow_factor = 100;
    r.mesh.spawn(0, prepare(&port, replica, request));
    r.world.run_for(2_ms);
    ASSERT_FALSE(store.segment_info(request.segment.id)) << "it is on its way to the device";
    auto const dropped = r.world.run(r.mesh.machine(0), port.drop(replica, request.segment.id, Epoch(1)), 20_s);
    EXPECT_TRUE(dropped && *dropped) << why(r.world);
    r.world.run_for(5_s);
    EXPECT_FALSE(store.segment_info(request.segment.id));
}

TEST(MeshSim, AllLosePowerAtOnceAndServeAgainByThemselves) {
    Ready r(5, six(), "rep:3");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 60)) << why(r.world);
    for (usize i = 0; i < 6; ++i) r.mesh.machine(i).crash();
    r.world.run_for(2_s);
    for (usize i = 0; i < 6; ++i) r.mesh.start(i);
    ASSERT_TRUE(r.world.run_until([&] { return r.mesh.server_of("v").has_value(); }, 60_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 60)) << why(r.world);
    EXPECT_TRUE(fill(r.mesh, "v", 60, 10)) << why(r.world);
}

// Its metadata have rotted and were rebuilt: whom it had voted for is not the question any more, neither now nor
// after it is mounted again. It is somebody else from this mount on.
TEST(MeshSim, ADeviceThatForgotNeverVotesAgain) {
    sim::World world(5);
    SimMesh mesh(world, {});
    ASSERT_TRUE(mesh.up()) << why(world);
    CoreletId const former = mesh.node(1)->id();
    mesh.machine(1).crash();
    sim::MediaFile& device = *mesh.machine(1).media().find(mesh.device_path(1));
    Layout const layout = *plan_layout({mesh.options().device_bytes, false, 0, 0});
    for (u64 half : layout.metadata_area(1).half_offset) device.flip_bit(half + 20, 1);
    CoreletId fresh;
    for (int round = 0; round < 3; ++round) {
        mesh.start(1);
        ASSERT_TRUE(world.run_until([&] { return mesh.node(1) != nullptr; }, 20_s)) << why(world);
        if (round == 0) {
            fresh = mesh.node(1)->id();
            EXPECT_NE(fresh, former);
            EXPECT_FALSE(mesh.node(1)->services().raft->is_member())
                << "of what the former self was it has nothing";
        }
        EXPECT_EQ(mesh.node(1)->id(), fresh) << round << ": who it is now it remembers";
        EXPECT_FALSE(mesh.node(1)->services().store->has_forgotten()) << round;
        // The others give the former one up and take the new one in, among the voters too.
        auto const replaced = [&] {
            for (usize i = 0; i < mesh.size(); ++i) {
                auto& services = mesh.node(i)->services();
                auto const voters = services.catalog->voters();
                auto const map = services.maps->current();
                auto const* const old = map->find(former);
                bool const gone = (!old || old->presence == mesh::Presence::kOut) &&
                                  std::find(voters.begin(), voters.end(), former) == voters.end();
                bool const votes = std::find(voters.begin(), voters.end(), fresh) != voters.end();
                if (!gone || !votes || voters.size() != 3 || services.raft->core().barred()) return false;
            }
            return true;
        };
        EXPECT_TRUE(world.run_until(replaced, 60_s)) << round << why(world);
        world.run_for(5_s);
        EXPECT_TRUE(replaced()) << round << ": and stays so" << why(world);
        mesh.machine(1).crash();
    }
    EXPECT_FALSE(world.failed()) << why(world);
}

TEST(MeshSim, TwoLostForGoodAreHealedOnTheRest) {
    SimMeshOptions options = six();
    options.corelets = 8;
    options.zones = 4;
    Ready r(6, options, "ec:4+2");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 300)) << why(r.world);
    r.world.run_for(10_s);
    auto const owner = *r.mesh.server_of("v");
    usize const other = (owner + 1) % 8;
    r.mesh.machine(owner).crash();
    r.mesh.machine(other).crash();
    ASSERT_TRUE(r.world.run_until([&] { return r.mesh.server_of("v").has_value(); }, 30_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 300)) << why(r.world);
    auto const healed = [&] {
        for (usize i = 0; i < 8; ++i) {
            if (!r.mesh.node(i)) continue;
            auto& services = r.mesh.node(i)->services();
            auto const map = services.maps->current();
            for (const mesh::Pool& pool : map->pools) {
                if (pool.tables.size() > 1) return false;
                for (CoreletId member : pool.current().members())
                    if (!map->is_up(member)) return false;
            }
            if (services.healer->status().fragments_missing != 0) return false;
            if (services.catalog->voters().size() != 5) return false;
        }
        return true;
    };
    EXPECT_TRUE(r.world.run_until(healed, 120_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 300)) << why(r.world);
}

}  // namespace
}  // namespace corelet
