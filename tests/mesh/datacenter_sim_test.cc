// A pool with the profile `datacenter` (ec:10+4, write quorum 11, read quorum 10, repair threshold 12) on sixteen
// corelets: one lost is no reason to rebuild before it is out, two are; writes go on without as many as the quorum
// leaves out; and who is slow slows nobody down.
#include <gtest/gtest.h>

#include "base/json.h"
#include "mesh/thin_rows.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

struct Datacenter {
    sim::World world;
    SimMesh mesh;
    Datacenter(u64 seed, Duration out_after) : world(seed), mesh(world, options_of(out_after)) {
        std::string error;
        EXPECT_TRUE(make_ready(mesh, Json{{"profile", "datacenter"}}, &error)) << error << why(world);
    }
    static SimMeshOptions options_of(Duration out_after) {
        SimMeshOptions options;
        options.corelets = 16;
        options.out_after = out_after;
        options.cache_bytes = 16 * k_kib;
        return options;
    }
    [[nodiscard]] const mesh::Pool& pool(usize at) {
        return mesh.node(at)->services().maps->current()->pools.front();
    }
    // So many of those that do not serve the volume.
    [[nodiscard]] std::vector<usize> others(usize count) {
        std::vector<usize> out;
        usize const owner = *mesh.server_of("v");
        for (usize i = 1; out.size() < count; ++i)
            if (usize const other = (owner + i) % 16; other != owner) out.push_back(other);
        return out;
    }
    [[nodiscard]] u64 bytes_rebuilt() {
        u64 sum = 0;
        for (usize i = 0; i < 16; ++i)
            if (mesh.node(i)) sum += mesh.node(i)->services().healer->status().bytes_done;
        return sum;
    }
    [[nodiscard]] u64 chunks_placed() {
        auto const server = mesh.server_of("v");
        return server ? mesh.node(*server)->services().volumes->volume("v")->stats().chunks_placed : 0;
    }
    [[nodiscard]] int can_lose() { return answer_to(mesh, "status").value("can_lose", -1); }
    // Nobody misses anything, by the healers' own word, and one table is left.
    [[nodiscard]] bool is_whole() {
        for (usize i = 0; i < 16; ++i) {
            if (!mesh.node(i)) return false;
            if (mesh.node(i)->services().healer->status().fragments_missing != 0) return false;
        }
        return pool(0).tables.size() == 1;
    }
    void stick(usize index, Duration time) {
        mesh.machine(index).media().find(mesh.device_path(index))->faults.stuck_until = world.now() + time;
    }
};

TEST(DatacenterSim, OneLostIsNotRebuiltBeforeItIsOut) {
    Datacenter d(1401, 40_s);
    ASSERT_TRUE(fill(d.mesh, "v", 0, 40)) << why(d.world);
    d.world.run_for(15_s);
    usize const lost = d.others(1).front(), looker = *d.mesh.server_of("v");
    u64 const before = d.bytes_rebuilt(), hash = d.pool(looker).current().hash();
    d.mesh.machine(lost).crash();
    ASSERT_TRUE(fill(d.mesh, "v", 40, 20)) << why(d.world);
    d.world.run_for(25_s);
    EXPECT_EQ(d.bytes_rebuilt(), before) << "not a byte";
    EXPECT_EQ(d.pool(looker).current().hash(), hash);
    EXPECT_TRUE(check(d.mesh, "v", 0, 60)) << why(d.world);
    EXPECT_TRUE(d.world.run_until(
        [&] {
            return d.mesh.node(looker)->services().maps->current()->find(d.mesh.id(lost))->presence ==
                   mesh::Presence::kOut;
        },
        60_s))
        << why(d.world);
    EXPECT_TRUE(d.world.run_until([&] { return d.bytes_rebuilt() > before; }, 60_s)) << "then it is";
    EXPECT_FALSE(d.world.failed()) << why(d.world);
}

TEST(DatacenterSim, TwoLostAreRebuiltLongBeforeTheyAreOut) {
    Datacenter d(1402, 400_s);
    ASSERT_TRUE(fill(d.mesh, "v", 0, 40)) << why(d.world);
    d.world.run_for(15_s);
    usize const looker = *d.mesh.server_of("v");
    auto const lost = d.others(2);
    u64 const before = d.bytes_rebuilt();
    for (usize i : lost) d.mesh.machine(i).crash();
    ASSERT_TRUE(d.world.run_until([&] { return d.bytes_rebuilt() > before; }, 90_s)) << why(d.world);
    d.world.run_for(20_s);
    auto const map = d.mesh.node(looker)->services().maps->current();
    for (usize i : lost) EXPECT_EQ(map->find(d.mesh.id(i))->presence, mesh::Presence::kDown) << "it keeps its name";
    EXPECT_FALSE(mesh::has_thin_rows(*map, d.pool(looker)));
    for (usize i = 0; i < 16; ++i)
        if (d.mesh.node(i)) EXPECT_EQ(d.mesh.node(i)->services().healer->status().fragments_missing, 0U) << i;
    EXPECT_TRUE(check(d.mesh, "v", 0, 40)) << why(d.world);
    for (usize i : lost) d.mesh.start(i);
    EXPECT_TRUE(d.world.run_until([&] { return d.is_whole(); }, 120_s)) << "and they come back" << why(d.world);
    EXPECT_TRUE(check(d.mesh, "v", 0, 40)) << why(d.world);
    EXPECT_FALSE(d.world.failed()) << why(d.world);
}

// Three of sixteen do not write any more, and answer everything else. Large writes are answered all the same, at
// once, and what they lack is said until it is made good.
TEST(DatacenterSim, WritesGoOnWithoutThoseThatTheQuorumLeavesOut) {
    Datacenter d(1403, 400_s);
    ASSERT_TRUE(fill(d.mesh, "v", 0, 20)) << why(d.world);
    d.world.run_for(15_s);
    int const whole = d.can_lose();
    EXPECT_EQ(whole, 3) << "seven voters; the pool promises four";
    u64 const placed = d.chunks_placed();
    for (usize i : d.others(3)) d.stick(i, 9_s);
    auto const began = d.world.now();
    ASSERT_TRUE(fill(d.mesh, "v", 20, 20)) << why(d.world);
    EXPECT_LT((d.world.now() - began).ms(), 6'000) << "twenty writes";
    EXPECT_GE(d.chunks_placed() - placed, 10U) << "most went straight to chunks";
    EXPECT_LE(d.can_lose(), 1) << "eleven are durable, and ten are needed";
    EXPECT_TRUE(check(d.mesh, "v", 0, 40)) << why(d.world);
    EXPECT_TRUE(d.world.run_until([&] { return d.world.now() - began > 20_s; }, 30_s));
    d.world.run_for(30_s);
    EXPECT_EQ(d.can_lose(), whole) << "made good" << why(d.world);
    EXPECT_FALSE(d.world.failed()) << why(d.world);
}

// The same for reads: each is decoded from others before anybody is missed for long.
TEST(DatacenterSim, ReadsGoRoundThoseThatHang) {
    Datacenter d(1404, 400_s);
    ASSERT_TRUE(fill(d.mesh, "v", 0, 60)) << why(d.world);
    d.world.run_for(20_s);
    auto const slowest_of = [&](u64 count) {
        Duration slowest{};
        for (u64 i = 0; i < count; ++i) {
            auto const server = d.mesh.server_of("v");
            if (!server) return k_forever;
            auto const began = d.world.now();
            auto const read = d.world.run(d.mesh.machine(*server), d.mesh.device("v")->read(i * 65536, 4096), 20_s);
            bool const right =
                read && *read &&
                std::ranges::equal((*read)->flatten().bytes(), pattern(i, 65536).bytes().first(4096));
            if (!right) return k_forever;
            slowest = std::max(slowest, d.world.now() - began);
        }
        return slowest;
    };
    Duration const usual = slowest_of(60);
    ASSERT_LT(usual, 200_ms);
    for (usize i : d.others(3)) d.stick(i, 15_s);
    auto const began = d.world.now();
    Duration const hanging = slowest_of(60);
    EXPECT_LT(hanging, 600_ms) << "a deadline is never waited for";
    EXPECT_LT((d.world.now() - began).ms(), 3'000) << "and most of sixty are not delayed at all";
    auto const server = d.mesh.server_of("v");
    ASSERT_TRUE(server);
    const ChunkStats& stats = d.mesh.node(*server)->services().chunks->stats();
    EXPECT_GT(stats.degraded_gets, 0U);
    EXPECT_FALSE(d.world.failed()) << why(d.world);
}

}  // namespace
}  // namespace corelet
