// What `plan` says, and what then moves: within a tenth.
#include <gtest/gtest.h>

#include "base/json.h"
#include "device/fragment_index.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

constexpr u64 k_blocks_filled = 240;  // of 64 KiB

u64 tenth_of(u64 value) {
    return value / 10;
}

struct Planned {
    sim::World world;
    SimMesh mesh;
    std::map<usize, HealStatus> before;  // of each corelet
    Json plan;

    explicit Planned(u64 seed, usize zones = 1, const char* strategy = "balanced")
        : world(seed), mesh(world, options(zones)) {
        std::string error;
        Json const pool{{"redundancy", "ec:2+1"}, {"chunk_bytes", 256 * k_kib}, {"strategy", strategy}};
        bool const ok = make_ready(mesh, pool, &error);
        EXPECT_TRUE(ok && fill(mesh, "v", 0, k_blocks_filled)) << error << why(world);
        EXPECT_TRUE(world.run_until([&] { return is_quiet(); }, 120_s)) << why(world);
    }
    static SimMeshOptions options(usize zones) {
        SimMeshOptions out;
        out.zones = zones;
        out.corelets = 7;
        out.spare_machines = 1;
        out.spare_device_bytes = out.device_bytes;
        return out;
    }
    // The log is packed, what became garbage is gone, and nothing is missing anywhere.
    [[nodiscard]] bool is_quiet() {
        auto const server = mesh.server_of("v");
        if (!server || mesh.node(*server)->services().volumes->owned().at("v").volume.unpacked_bytes != 0)
            return false;
        u64 const now = fragments();
        if (now != fragments_) changed_at_ = world.now();
        fragments_ = now;
        return is_settled() && world.now() - changed_at_ > 15_s;
    }
    [[nodiscard]] u64 fragments() {
        u64 sum = 0;
        for (usize i = 0; i < members(); ++i)
            if (mesh.node(i)) sum += mesh.node(i)->services().store->fragment_count();
        return sum;
    }
    [[nodiscard]] usize members() const { return mesh.size() + mesh.options().spare_machines; }
    [[nodiscard]] std::shared_ptr<const mesh::Map> map() { return mesh.node(0)->services().maps->current(); }
    [[nodiscard]] bool is_settled() {
        for (usize i = 0; i < members(); ++i)
            if (mesh.node(i) && mesh.node(i)->services().healer->status().fragments_missing != 0) return false;
        return map()->pools.front().tables.size() == 1;
    }
    void ask(const std::string& arguments) {
        plan = answer_to(mesh, "plan", arguments);
        ASSERT_GT(plan["moved"]["bytes"].get<u64>(), 200 * k_kib) << "too little to say anything";
        EXPECT_TRUE(plan["caveats"].empty() || plan["change"].get<std::string>().find("added") != std::string::npos)
            << plan["caveats"].dump();
        for (usize i = 0; i < members(); ++i)
            if (mesh.node(i)) before[i] = mesh.node(i)->services().healer->status();
    }
    // Rebuilt since the plan was made, by everybody who is there.
    void expect_as_planned() {
        u64 bytes = 0, fragments = 0;
        for (usize i = 0; i < members(); ++i) {
            if (!mesh.node(i)) continue;
            HealStatus const now = mesh.node(i)->services().healer->status();
            u64 const took = now.bytes_done - before[i].bytes_done;
            bytes += took;
            fragments += now.fragments_rebuilt - before[i].fragments_rebuilt;
            expect_near(took, planned_in(mesh.id(i)), "at corelet " + std::to_string(i));
        }
        u64 const planned = plan["moved"]["bytes"].get<u64>();
        RecordProperty("planned_bytes", std::to_string(planned));
        RecordProperty("moved_bytes", std::to_string(bytes));
        expect_near(bytes, planned, "bytes in all");
        expect_near(fragments, plan["moved"]["fragments"].get<u64>(), "fragments in all");
    }
    static void RecordProperty(const std::string& key, const std::string& value) {
        ::testing::Test::RecordProperty(key, value);
    }
    static void expect_near(u64 real, u64 planned, const std::string& what) {
        EXPECT_LE(real, planned + tenth_of(planned)) << what << ": planned " << planned;
        EXPECT_GE(real + tenth_of(planned), planned) << what << ": planned " << planned;
    }
    [[nodiscard]] u64 planned_in(CoreletId id) {
        for (const Json& each : plan["corelets"])
            if (each["id"] == to_string(id)) return each["in"]["bytes"].get<u64>();
        return 0;
    }
    // What fragments take of a newcomer's device. Its share of the log comes on top.
    void expect_fill(usize fresh) {
        u64 room = 0;
        for (const FragmentInfo& each : mesh.node(fresh)->services().store->list_fragments(std::nullopt, 100'000))
            room += fragment_units(each.bytes / k_block_bytes) * k_unit_bytes;
        for (const Json& each : plan["corelets"])
            if (each["id"] == to_string(mesh.id(fresh)))
                expect_near(room, each["used_after_bytes"].get<u64>(), "fill of the newcomer");
    }
    [[nodiscard]] usize bystander() {
        usize const server = *mesh.server_of("v");
        return server == 3 ? 4 : 3;
    }

  private:
    u64 fragments_ = 0;
    sim::VirtualTime changed_at_{};
};

class PlanSim : public ::testing::TestWithParam<u64> {};

TEST_P(PlanSim, AnAddedCorelet) {
    Planned r(GetParam());
    usize const fresh = r.mesh.spare(0);
    r.ask(R"({"change":"add","location":"z1/r1/c8","size_bytes":268435456,"id":")" + to_string(r.mesh.id(fresh)) +
          "\"}");
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    EXPECT_EQ(r.plan["pace"], "assumed");
    EXPECT_EQ(r.plan["rebuilt"]["fragments"], 0);
    r.mesh.start(fresh);
    CoreletId const id = r.mesh.id(fresh);
    auto const is_in = [&] { return r.map()->is_up(id) && r.map()->pools.front().current().has(id); };
    ASSERT_TRUE(r.world.run_until(is_in, 60_s)) << why(r.world);
    ASSERT_TRUE(r.world.run_until([&] { return r.is_settled(); }, 120_s)) << why(r.world);
    r.expect_as_planned();
    ASSERT_TRUE(r.world.run_for(10_s));
    r.expect_fill(fresh);
    EXPECT_TRUE(check(r.mesh, "v", 0, k_blocks_filled));
}

TEST_P(PlanSim, ADrainedCorelet) {
    Planned r(GetParam() + 10);
    usize const leaving = r.bystander();
    std::string const id = to_string(r.mesh.id(leaving));
    r.ask(R"({"change":"drain","id":")" + id + "\"}");
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    EXPECT_EQ(r.plan["rebuilt"]["fragments"], 0) << "it is there to be copied from";
    EXPECT_GE(r.plan["during"]["can_lose"].get<int>(), 1) << "a drain takes nothing away";
    std::string error;
    ASSERT_TRUE(r.mesh.command("corelet.drain", R"({"id":")" + id + "\"}", &error)) << error;
    auto const is_empty = [&] { return mesh::is_drained(*r.map(), r.mesh.id(leaving)) && r.is_settled(); };
    ASSERT_TRUE(r.world.run_until(is_empty, 180_s)) << why(r.world);
    r.expect_as_planned();
    EXPECT_TRUE(check(r.mesh, "v", 0, k_blocks_filled));
}

TEST_P(PlanSim, ALostCorelet) {
    Planned r(GetParam() + 20);
    usize const lost = r.bystander();
    CoreletId const id = r.mesh.id(lost);
    r.ask(R"({"change":"remove","id":")" + to_string(id) + "\"}");
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    EXPECT_EQ(r.plan["moved"], r.plan["rebuilt"]) << "nobody copies from it";
    EXPECT_LT(r.plan["during"]["can_lose"].get<int>(), r.plan["before"]["can_lose"].get<int>());
    EXPECT_EQ(r.plan["after"]["can_lose"], 1);
    r.mesh.machine(lost).crash();
    auto const is_out = [&] { return r.map()->find(id)->presence == mesh::Presence::kOut && r.is_settled(); };
    ASSERT_TRUE(r.world.run_until(is_out, 180_s)) << why(r.world);
    r.expect_as_planned();
    EXPECT_TRUE(check(r.mesh, "v", 0, k_blocks_filled));
}

// By lot up to three fragments of a chunk lie in one zone; with a cap what exceeds it moves, and is there to be
// read all the time.
TEST_P(PlanSim, AChangedPool) {
    Planned r(GetParam() + 30, 3, "random");
    r.ask(R"({"change":"pool.change","name":"p","strategy":"balanced","max_per":{"zone":1},"survive":"zone"})");
    ASSERT_FALSE(::testing::Test::HasFatalFailure());
    EXPECT_EQ(r.plan["rebuilt"]["fragments"], 0) << "whoever has it is there to be copied from";
    EXPECT_GE(r.plan["after"]["can_lose_zones"].get<int>(), 1) << r.plan["after"].dump();
    Json const changed =
        answer_to(r.mesh, "pool.change", R"({"name":"p","strategy":"balanced","max_per":{"zone":1}})");
    EXPECT_EQ(changed["moves"], true) << changed.dump();
    auto const has_begun = [&] { return r.map()->pools.front().spec.strategy == "balanced"; };
    ASSERT_TRUE(r.world.run_until(has_begun, 10_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, k_blocks_filled)) << "while it moves";
    ASSERT_TRUE(r.world.run_until([&] { return r.is_settled(); }, 120_s)) << why(r.world);
    r.expect_as_planned();
    EXPECT_TRUE(check(r.mesh, "v", 0, k_blocks_filled));
    std::string error;
    EXPECT_FALSE(r.mesh.command("pool.change", R"({"name":"p","redundancy":"rep:2"})", &error).has_value());
    EXPECT_NE(error.find("Make another pool"), std::string::npos) << error;
}

INSTANTIATE_TEST_SUITE_P(Seeds, PlanSim, ::testing::Values(401, 402, 403));

// A pool that is only thought of changes nothing, and says what it would survive.
TEST(PlanSimOnce, APoolThatIsOnlyThoughtOf) {
    sim::World world(431);
    SimMesh mesh(world, six());
    ASSERT_TRUE(mesh.up()) << why(world);
    Json const plan = answer_to(
        mesh, "plan", R"({"change":"pool.create","name":"q","redundancy":"ec:4+2","failure_domain":"corelet"})");
    EXPECT_EQ(plan["moved"]["fragments"], 0);
    ASSERT_EQ(plan["pools"].size(), 1U);
    EXPECT_NE(plan["pools"][0]["survives_after"].get<std::string>().find("any 2 corelets"), std::string::npos);
    EXPECT_EQ(mesh.node(0)->services().maps->current()->find_pool("q"), nullptr);
    std::string error;
    EXPECT_FALSE(
        mesh.command("plan", R"({"change":"pool.create","name":"q","redundancy":"ec:9+2"})", &error).has_value());
    EXPECT_FALSE(error.empty());
    EXPECT_FALSE(mesh.command("plan", R"({"change":"wish"})", &error).has_value());
    EXPECT_NE(error.find("cannot be planned"), std::string::npos) << error;
}

}  // namespace
}  // namespace corelet
