// Who owns a volume (design section 10): moves, deaths, failed devices, and what nobody wants to serve.
#include <gtest/gtest.h>

#include "base/json.h"
#include "stream/stream_record.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

std::optional<pb::Stream> stream_of(SimMesh& mesh, usize asked) {
    pb::Stream stream;
    auto const items = mesh.node(asked)->services().catalog->local_range("streams/").items;
    if (items.empty() || !stream.ParseFromString(items.front().value)) return std::nullopt;
    return stream;
}

bool is_all_ended(const pb::Stream& stream) {
    return std::ranges::all_of(stream.segments(),
                               [](const pb::Segment& s) { return s.state() == pb::Segment::ENDED; });
}

usize somebody_else(SimMesh& mesh, usize owner) {
    for (usize i = 0; i < mesh.size(); ++i)
        if (i != owner && mesh.node(i)) return i;
    return owner;
}

// From the command until another serves, in virtual milliseconds.
i64 move_to(Ready& r, usize target) {
    auto const from = r.world.now();
    auto const answer = r.mesh.request(somebody_else(r.mesh, target), "volume.attach",
                                       R"({"name":"v","at":")" + to_string(r.mesh.id(target)) + R"("})");
    auto const moved = [&] { return r.mesh.servers_of("v") == std::vector<usize>{target}; };
    if (!r.world.run_until(moved, 20_s)) return -1;
    i64 const took = (r.world.now() - from).ms();
    EXPECT_TRUE(r.world.run_until([&] { return answer->has_value(); }, 20_s)) << why(r.world);
    EXPECT_TRUE(**answer) << (**answer ? std::string() : (**answer).error().to_string());
    return took;
}

TEST(OwnerSim, APlannedMoveTakesLessThanASecond) {
    Ready r(51, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    for (int round = 0; round < 4; ++round) {
        usize const target = (*r.mesh.server_of("v") + 1) % 6;
        i64 const took = move_to(r, target);
        EXPECT_GE(took, 0) << why(r.world);
        EXPECT_LT(took, 1000) << why(r.world);
        EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
    }
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// One replica in each zone, and a standby for the loss of the other two at once: it would lie in the owner's zone
// alone, and nobody could fence it were that one lost (protocols 5.1, design: never all in one).
TEST(OwnerSim, NoSegmentIsListedInOneZoneAlone) {
    SimMeshOptions options;
    options.corelets = 9;
    options.zones = 3;
    for (u64 seed = 520; seed < 523; ++seed) {
        sim::World world(seed);
        SimMesh mesh(world, options);
        std::string error;
        ASSERT_TRUE(make_ready(mesh, Json{{"redundancy", "rep:3"}, {"failure_domain", "zone"}}, &error)) << error;
        for (int second = 0; second < 8; ++second) {
            ASSERT_TRUE(fill(mesh, "v", static_cast<u64>(second) * 8, 8)) << why(world);
            auto const stream = stream_of(mesh, 0);
            ASSERT_TRUE(stream);
            for (const pb::Segment& segment : stream->segments()) {
                std::set<usize> zones;
                for (u64 id : segment.replicas()) zones.insert(*mesh.index_of(CoreletId(id)) % 3);
                EXPECT_GE(zones.size(), 2U) << "seed " << seed << ", segment " << segment.seq();
            }
            world.run_for(1_s);
        }
        EXPECT_GE(answer_to(mesh, "status").value("can_lose_zones", 0), 1) << "seed " << seed;
    }
}

TEST(OwnerSim, AttachedAgainItStaysWhereItIs) {
    Ready r(52, six(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v");
    u64 const epoch = stream_of(r.mesh, owner)->epoch();
    std::string error;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(r.mesh.command("volume.attach", R"({"name":"v"})", &error)) << error;
    r.world.run_for(3_s);
    EXPECT_EQ(r.mesh.server_of("v"), owner);
    EXPECT_EQ(stream_of(r.mesh, owner)->epoch(), epoch);
}

TEST(OwnerSim, WhoeverIsDownIsNotAttachedTo) {
    Ready r(53, six(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v"), dead = somebody_else(r.mesh, owner);
    r.mesh.machine(dead).crash();
    r.world.run_for(7_s);
    std::string error;
    EXPECT_FALSE(
        r.mesh.command("volume.attach", R"({"name":"v","at":")" + to_string(r.mesh.id(dead)) + R"("})", &error));
    EXPECT_NE(error.find("down"), std::string::npos) << error;
    EXPECT_EQ(r.mesh.server_of("v"), owner);
}

// Its session lives on for a while, so nothing speaks against it yet. Whoever takes the volume instead keeps it.
TEST(OwnerSim, AMoveToOneThatHasJustDiedIsInVain) {
    Ready r(531, six(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v"), dead = somebody_else(r.mesh, owner);
    usize asked = 0;
    while (asked == owner || asked == dead) ++asked;
    u64 const epoch = stream_of(r.mesh, owner)->epoch();
    r.mesh.machine(dead).crash();
    auto const answer =
        r.mesh.request(asked, "volume.attach", R"({"name":"v","at":")" + to_string(r.mesh.id(dead)) + R"("})");
    auto const served = [&] { return r.mesh.server_of("v") && stream_of(r.mesh, asked)->epoch() > epoch; };
    ASSERT_TRUE(r.world.run_until(served, 20_s)) << why(r.world);
    r.world.run_for(10_s);
    EXPECT_EQ(stream_of(r.mesh, asked)->epoch(), epoch + 1) << why(r.world);
    EXPECT_TRUE(r.mesh.server_of("v").has_value()) << why(r.world);
    EXPECT_TRUE(answer->has_value()) << "and who asked is told";
}

TEST(OwnerSim, AnOwnerThatDiesIsReplacedWithinTenSeconds) {
    Ready r(54, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    usize owner = *r.mesh.server_of("v");
    if (r.mesh.node(owner)->services().raft->is_leader()) {
        ASSERT_GE(move_to(r, somebody_else(r.mesh, owner)), 0);
        owner = *r.mesh.server_of("v");
    }
    r.world.run_for(3_s);
    r.mesh.machine(owner).crash();
    EXPECT_TRUE(r.world.run_until([&] { return r.mesh.server_of("v").has_value(); }, 10_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
}

TEST(OwnerSim, WithinFifteenIfItLedTheCatalogToo) {
    Ready r(55, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    usize const owner = *r.mesh.server_of("v");
    for (usize i = 0; i < 6; ++i)
        if (r.mesh.node(i)->services().raft->is_leader() && i != owner) ASSERT_GE(move_to(r, i), 0);
    r.world.run_for(3_s);
    usize const both = *r.mesh.server_of("v");
    ASSERT_TRUE(r.mesh.node(both)->services().raft->is_leader());
    r.mesh.machine(both).crash();
    EXPECT_TRUE(r.world.run_until([&] { return r.mesh.server_of("v").has_value(); }, 15_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
}

TEST(OwnerSim, AFailedDeviceGivesItsStreamsUpAndItsVoteGoes) {
    Ready r(56, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    usize const owner = *r.mesh.server_of("v");
    CoreletId const id = r.mesh.id(owner);
    r.mesh.machine(owner).media().find(r.mesh.device_path(owner))->faults.fail_writes = 1;
    ASSERT_TRUE(fill(r.mesh, "v", 40, 5)) << why(r.world);
    auto const moved = [&] {
        auto const server = r.mesh.server_of("v");
        return server && *server != owner;
    };
    ASSERT_TRUE(r.world.run_until(moved, 10_s)) << why(r.world);
    ASSERT_TRUE(r.mesh.node(owner)) << "its process lives";
    usize const asked = *r.mesh.server_of("v");
    auto const voted_out = [&] {
        auto const voters = r.mesh.node(asked)->services().catalog->voters();
        auto const* const corelet = r.mesh.node(asked)->services().maps->current()->find(id);
        return corelet && corelet->duty == mesh::Duty::kFailing &&
               std::find(voters.begin(), voters.end(), id) == voters.end();
    };
    EXPECT_TRUE(r.world.run_until(voted_out, 30_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 45)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// Detached while its owner is dead: no segment stays open without an owner (protocols 7.7).
TEST(OwnerSim, ACaretakerEndsWhatNobodyServes) {
    Ready r(57, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    usize const owner = *r.mesh.server_of("v"), asked = somebody_else(r.mesh, owner);
    r.mesh.machine(owner).crash();
    auto const answer = r.mesh.request(asked, "volume.detach", R"({"name":"v"})");
    auto const ended = [&] {
        auto const stream = stream_of(r.mesh, asked);
        return stream && stream->owner() == 0 && is_all_ended(*stream);
    };
    EXPECT_TRUE(r.world.run_until(ended, 100_s)) << why(r.world);
    // What lay on the dead one is made safe as well, though the volume stays detached.
    auto const safe = [&] {
        auto const stream = stream_of(r.mesh, asked);
        auto const map = r.mesh.node(asked)->services().maps->current();
        for (const pb::Segment& segment : stream->segments())
            for (u64 replica : segment.replicas())
                if (!map->is_up(CoreletId(replica))) return false;
        return stream->owner() == 0;
    };
    EXPECT_TRUE(r.world.run_until(safe, 120_s)) << why(r.world);
    EXPECT_TRUE(r.mesh.servers_of("v").empty());
    std::string error;
    ASSERT_TRUE(r.mesh.command("volume.attach", R"({"name":"v"})", &error)) << error << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// Its session lives on, so nobody else may take the stream; and it may die again before long.
TEST(OwnerSim, AnOwnerThatIsBackEndsWhatNobodyWantsAnyMore) {
    Ready r(59, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    usize const owner = *r.mesh.server_of("v"), asked = somebody_else(r.mesh, owner);
    r.mesh.machine(owner).crash();
    auto const answer = r.mesh.request(asked, "volume.detach", R"({"name":"v"})");
    r.world.run_for(500_ms);
    r.mesh.start(owner);
    auto const ended = [&] {
        auto const stream = stream_of(r.mesh, asked);
        return stream && is_all_ended(*stream);
    };
    EXPECT_TRUE(r.world.run_until(ended, 20_s)) << why(r.world);
    EXPECT_TRUE(r.mesh.servers_of("v").empty());
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// Witnesses hold all votes and are gone for long: no client notices, and no connection that its writes go over is
// broken by whoever looks for the catalog.
TEST(OwnerSim, AVolumeGoesOnWithoutTheCatalog) {
    SimMeshOptions options;
    options.corelets = 3;
    options.witnesses = 5;
    Ready r(58, options, "rep:2");
    usize const owner = *r.mesh.server_of("v");
    auto const owned = [&] { return r.mesh.node(owner)->services().volumes->owned().at("v"); };
    auto const only_witnesses_vote = [&] {
        auto const voters = r.mesh.node(owner)->services().catalog->voters();
        return voters.size() == 5 && std::all_of(voters.begin(), voters.end(), [&](CoreletId id) {
                   return r.mesh.index_of(id) && *r.mesh.index_of(id) >= options.corelets;
               });
    };
    ASSERT_TRUE(r.world.run_until(only_witnesses_vote, 60_s)) << why(r.world);
    for (usize i = options.corelets; i < r.mesh.size(); ++i) r.mesh.machine(i).crash();
    std::optional<u64> rolls;  // since the owner knows
    auto const device = r.mesh.device("v");
    auto const until = r.world.now() + 60_s;
    for (u64 i = 0; r.world.now() < until; ++i) {
        auto const began = r.world.now();
        auto const written =
            r.world.run(r.mesh.machine(owner), device->write(i % 64 * 4096, BufferChain(pattern(i, 4096)), false));
        ASSERT_TRUE(written && *written) << why(r.world);
        ASSERT_LT((r.world.now() - began).ms(), 300) << why(r.world);
        r.world.run_for(20_ms);
        if (!rolls && !r.mesh.node(owner)->services().catalog->is_available()) rolls = owned().stream.rolls;
    }
    ASSERT_TRUE(rolls);
    EXPECT_EQ(owned().stream.rolls, *rolls) << "standbys are kept for failures" << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

}  // namespace
}  // namespace corelet
