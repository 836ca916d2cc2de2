// A mesh of one is a group of one, and grows while it serves: more corelets, more voters, and nobody waits for it.
#include <gtest/gtest.h>

#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// Writes and reads a volume of one that is there from the beginning, and asks the catalog something, all the time.
class Growing {
  public:
    explicit Growing(u64 seed) : world(seed), mesh(world, seven()) {}

    static SimMeshOptions seven() {
        SimMeshOptions options;
        options.corelets = 7;
        return options;
    }
    void begin() {
        mesh.start(0);
        ASSERT_TRUE(world.run_until([&] { return voters() == 1 && up() == 1; }, 30_s)) << why(world);
        (void)answer_to(mesh, "pool.create", R"({"name":"p","redundancy":"rep:1"})");
        (void)answer_to(mesh, "volume.create", R"({"name":"v","pool":"p","size_bytes":67108864})");
        (void)answer_to(mesh, "volume.attach", R"({"name":"v"})");
        ASSERT_EQ(mesh.server_of("v"), 0u) << why(world);
    }
    // Until the condition holds.
    void serve_until(const std::function<bool()>& condition, const std::string& what) {
        auto const until = world.now() + 120_s;
        while (!condition() && !::testing::Test::HasFatalFailure()) {
            ASSERT_LT(world.now(), until) << what << why(world);
            serve_once(what);
            world.run_for(20_ms);
        }
    }
    void serve_once(const std::string& what) {
        auto const device = mesh.device("v");
        ASSERT_TRUE(device) << what << why(world);
        auto const began = world.now();
        u64 const place = written % 256 * 4096;
        auto const done =
            world.run(mesh.machine(0), device->write(place, BufferChain(pattern(written, 4096)), false));
        ASSERT_TRUE(done && *done) << what << why(world);
        auto const read = world.run(mesh.machine(0), device->read(place, 4096));
        ASSERT_TRUE(read && *read) << what << why(world);
        ASSERT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(written, 4096).bytes())) << what;
        ++written;
        longest = std::max(longest, world.now() - began);
        // The catalog's own answer, linearizable.
        auto& services = mesh.node(0)->services();
        auto const asked = world.now();
        auto const known =
            world.run(mesh.machine(0), services.catalog->range("streams/", services.env.clock.now() + 10_s));
        ASSERT_TRUE(known && *known) << what << why(world);
        longest_of_catalog = std::max(longest_of_catalog, world.now() - asked);
    }
    [[nodiscard]] usize voters() { return mesh.node(0) ? mesh.node(0)->services().catalog->voters().size() : 0; }
    [[nodiscard]] usize up() {
        if (!mesh.node(0)) return 0;
        auto const map = mesh.node(0)->services().maps->current();
        return static_cast<usize>(
            std::ranges::count_if(map->corelets, [](const mesh::Corelet& corelet) { return corelet.is_up(); }));
    }

    sim::World world;
    SimMesh mesh;
    u64 written = 0;
    Duration longest, longest_of_catalog;
};

TEST(GrowthSim, FromOneToSevenWhileItServes) {
    for (u64 seed : {81u, 82u, 83u}) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Growing g(seed);
        ASSERT_NO_FATAL_FAILURE(g.begin());
        std::vector<usize> const voters_of{1, 1, 3, 3, 5, 5, 5};
        for (usize count = 2; count <= 7; ++count) {
            g.mesh.start(count - 1);
            usize const wanted = voters_of[count - 1];
            ASSERT_NO_FATAL_FAILURE(g.serve_until([&] { return g.up() == count && g.voters() == wanted; },
                                                  "the " + std::to_string(count) + ". comes"));
        }
        // A pool that promises three losses wants a catalog that bears them.
        auto const made = g.mesh.request(0, "pool.create", R"({"name":"wide","redundancy":"ec:4+3"})");
        ASSERT_NO_FATAL_FAILURE(
            g.serve_until([&] { return made->has_value() && g.voters() == 7; }, "a promise of three"));
        EXPECT_TRUE(**made) << (**made ? std::string() : (**made).error().to_string());
        // And while all that is new is filled.
        for (int i = 0; i < 500 && !HasFatalFailure(); ++i) {
            g.serve_once("afterwards");
            g.world.run_for(20_ms);
        }
        EXPECT_LT(g.longest.ms(), 1'000) << why(g.world);
        EXPECT_LT(g.longest_of_catalog.ms(), 1'000) << why(g.world);
        RecordProperty("longest request, ms, seed " + std::to_string(seed), static_cast<int>(g.longest.ms()));
        RecordProperty("longest answer of the catalog, ms, seed " + std::to_string(seed),
                       static_cast<int>(g.longest_of_catalog.ms()));
        EXPECT_FALSE(g.world.failed()) << why(g.world);
    }
}

}  // namespace
}  // namespace corelet
