// Healing of whole meshes: its limits and its pace, where scrubbing has got to, and holders that lie.
#include <gtest/gtest.h>

#include "base/json.h"
#include "node/health_service.h"
#include "tests/mesh/liar.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// What of a pool's chunks lies there.
std::vector<FragmentId> held_at(Ready& r, usize index) {
    std::vector<FragmentId> out;
    for (const FragmentInfo& info : r.mesh.node(index)->services().store->list_fragments({}, 10'000))
        out.push_back(info.id);
    return out;
}

bool is_packed(Ready& r) {
    return r.world.run_until(
        [&] {
            usize held = 0;
            for (usize i = 0; i < r.mesh.size(); ++i) held += held_at(r, i).size();
            return held >= 60;
        },
        120_s);
}

// It has lost everything, heals nothing and answers every challenge with something. Six audit somebody every five
// seconds, so it is asked that often, and the second time ten seconds later: two minutes are plenty.
TEST(HealingMesh, AHolderThatLiesIsCaughtWithinTwoMinutes) {
    SimMeshOptions options = six();
    options.audit_every = 5_s;
    Ready r(71, options, "ec:4+2");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 512));
    ASSERT_TRUE(is_packed(r)) << why(r.world);
    usize const owner = *r.mesh.server_of("v");
    usize const liar = owner == 5 ? 4 : 5;
    NodeServices& services = r.mesh.node(liar)->services();
    services.healer->pause(true);
    r.world.run_for(3_s);
    auto const held = held_at(r, liar);
    ASSERT_GT(held.size(), 5U);
    answer_challenges_untruly(services);
    for (const FragmentId& id : held)
        ASSERT_TRUE(r.world.run(r.mesh.machine(liar), services.store->remove_fragment(id), 10_s));
    auto const began = r.world.now();
    auto const caught = [&] {
        u64 failed = 0;
        for (usize i = 0; i < r.mesh.size(); ++i)
            failed += r.mesh.node(i)->services().healer->status().audits_failed;
        return failed != 0;
    };
    ASSERT_TRUE(r.world.run_until(caught, 120_s)) << why(r.world);
    EXPECT_LE((r.world.now() - began).ms(), 120'000);
    r.world.run_for(2_s);
    Json const status = answer_to(r.mesh, "status");
    EXPECT_GE(status["healing"]["audits_failed"].get<u64>(), 1U);
    bool named = false;
    Json const events = answer_to(r.mesh, "events");
    for (const Json& event : events.at("events"))
        named = named || (event.at("name") == to_string(r.mesh.id(liar)) && event.at("subject") == "device" &&
                          event.at("reason").get<std::string>().find("audit") != std::string::npos);
    EXPECT_TRUE(named) << events.dump(1);
    EXPECT_TRUE(r.world.run_until([&] { return !held_at(r, liar).empty(); }, 60_s)) << "it is put there again";
    EXPECT_TRUE(check(r.mesh, "v", 0, 512));
}

TEST(HealingMesh, NobodyIsAccusedWhileCoreletsComeAndGo) {
    SimMeshOptions options = six();
    options.audit_every = 2_s;
    Ready r(72, options, "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 256));
    ASSERT_TRUE(is_packed(r));
    usize const owner = *r.mesh.server_of("v");
    usize const victim = owner == 3 ? 2 : 3;
    r.mesh.machine(victim).crash();
    ASSERT_TRUE(fill(r.mesh, "v", 256, 64));
    r.world.run_for(40_s);
    r.mesh.start(victim);
    ASSERT_TRUE(fill(r.mesh, "v", 320, 64));
    r.world.run_for(60_s);
    Json const healing = answer_to(r.mesh, "status")["healing"];
    EXPECT_GT(healing["audits"].get<u64>(), 50U);
    EXPECT_EQ(healing["audits_failed"].get<u64>(), 0U) << why(r.world);
}

TEST(HealingMesh, LimitsAreKeptInTheCatalogAndShared) {
    Ready r(73, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 512));
    ASSERT_TRUE(is_packed(r));
    Json const set = answer_to(r.mesh, "healing.limit", R"({"corelet_bytes_per_second":1048576})");
    EXPECT_EQ(set["corelet_bytes_per_second"], 1048576);
    EXPECT_EQ(set["mesh_bytes_per_second"], 0);
    Json const both = answer_to(r.mesh, "healing.limit", R"({"mesh_bytes_per_second":262144})");
    EXPECT_EQ(both["corelet_bytes_per_second"], 1048576) << "what is not named stays";
    std::string error;
    EXPECT_FALSE(r.mesh.command("healing.limit", R"({"mesh_bytes_per_second":"much"})", &error));
    EXPECT_NE(error.find("number of bytes"), std::string::npos) << error;
    r.world.run_for(3_s);
    usize const owner = *r.mesh.server_of("v");
    usize const victim = owner == 3 ? 2 : 3;
    r.mesh.machine(victim).crash();
    auto const done = [&] {
        u64 bytes = 0;
        for (usize i = 0; i < r.mesh.size(); ++i)
            if (CoreletNode* const node = r.mesh.node(i)) bytes += node->services().healer->status().bytes_done;
        return bytes;
    };
    u64 const before = done();
    ASSERT_TRUE(r.world.run_until([&] { return done() > before; }, 60_s)) << why(r.world);
    u64 const first = done();
    r.world.run_for(10_s);
    u64 const rate = (done() - first) / 10;
    EXPECT_GT(rate, 0U);
    EXPECT_LE(rate, 262144U * 5 / 4) << "all together";
    Json const healing = answer_to(r.mesh, "status")["healing"];
    EXPECT_EQ(healing["slowed_by"], "the limit of the mesh") << healing.dump(1);
    EXPECT_EQ(healing["limit_mesh_bytes_per_second"], 262144);
    (void)answer_to(r.mesh, "healing.limit", R"({"mesh_bytes_per_second":0,"corelet_bytes_per_second":0})");
    EXPECT_TRUE(r.world.run_until(
        [&] {
            for (usize i = 0; i < r.mesh.size(); ++i)
                if (CoreletNode* const node = r.mesh.node(i); node && node->services().healer->bytes_left() != 0)
                    return false;
            return true;
        },
        60_s));
}

TEST(HealingMesh, ScrubbingGoesOnWhereItWas) {
    Ready r(74, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 256));
    ASSERT_TRUE(is_packed(r));
    usize const owner = *r.mesh.server_of("v");
    usize const other = owner == 3 ? 2 : 3;
    auto const status = [&] { return r.mesh.node(other)->services().healer->status(); };
    ASSERT_TRUE(r.world.run_until([&] { return status().scrub_last_ended.has_value(); }, 600_s));
    r.world.run_for(40_s);
    WallTime const ended = *status().scrub_last_ended;
    r.mesh.machine(other).crash();
    r.world.run_for(1_s);
    r.mesh.start(other);
    ASSERT_TRUE(r.world.run_until([&] { return r.mesh.node(other) != nullptr; }, 30_s));
    ASSERT_TRUE(status().scrub_last_ended.has_value()) << "known at once, before anything was read";
    EXPECT_GE(status().scrub_last_ended->unix_ns, ended.unix_ns - 60'000'000'000);
    EXPECT_EQ(status().scrubbed_bytes, 0U);
}

}  // namespace
}  // namespace corelet
