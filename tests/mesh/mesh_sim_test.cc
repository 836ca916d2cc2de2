#include <gtest/gtest.h>

#include "tests/mesh/sim_mesh.h"

namespace corelet {
namespace {

Buffer pattern(u64 seed, usize bytes) {
    Prng rng(seed);
    Buffer out = Buffer::allocate(bytes);
    for (usize i = 0; i < bytes; i += 8) {
        u64 const value = rng.next();
        std::memcpy(out.mutable_data() + i, &value, 8);
    }
    return out;
}

std::string why(sim::World& world) {
    std::string out = world.failure();
    for (const std::string& line : world.recent_log()) out += "\n" + line;
    return out;
}

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
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:4+2"})", &error)) << error << why(world);
    EXPECT_FALSE(mesh.command("pool.create", R"({"name":"p","redundancy":"rep:2"})", &error)) << "a name is given once";
    bool const voters = world.run_until([&] { return mesh.node(0)->services().catalog->voters().size() == 5; }, 60_s);
    EXPECT_TRUE(voters) << "2 x promise + 1" << why(world);
    EXPECT_FALSE(world.failed()) << why(world);
}

TEST(MeshSim, ThreeComeUpAndServeAVolume) {
    sim::World world(1);
    SimMesh mesh(world, {});
    ASSERT_TRUE(mesh.up()) << why(world);
    std::string error;
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:2+1"})", &error)) << error << why(world);
    ASSERT_TRUE(mesh.command("volume.create", R"({"name":"v","pool":"p","size_bytes":67108864})", &error)) << error;
    ASSERT_TRUE(mesh.command("volume.attach", R"({"name":"v"})", &error)) << error << why(world);
    auto const server = mesh.server_of("v");
    ASSERT_TRUE(server.has_value());
    auto const device = mesh.device("v");
    for (u64 i = 0; i < 20; ++i) {
        auto const written = world.run(mesh.machine(*server), device->write(i * k_mib, BufferChain(pattern(i, 256 * 1024)), false));
        ASSERT_TRUE(written && *written) << why(world);
    }
    for (u64 i = 0; i < 20; ++i) {
        auto const read = world.run(mesh.machine(*server), device->read(i * k_mib, 256 * 1024));
        ASSERT_TRUE(read && *read) << why(world);
        EXPECT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(i, 256 * 1024).bytes()));
    }
    EXPECT_FALSE(world.failed()) << why(world);
}

}  // namespace
}  // namespace corelet
