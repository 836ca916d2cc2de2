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
bool only_witnesses_vote(SimMesh& mesh) {
    auto const voters = mesh.node(0)->services().catalog->voters();
    return voters.size() == 5 && std::ranges::all_of(voters, [&](CoreletId id) {
               return mesh.index_of(id) && *mesh.index_of(id) >= mesh.options().corelets;
           });
}

// What is written at one moment, and read at a later one.
struct Traffic {
    std::string volume;
    usize owner = 0;
    std::optional<u64> rolls;  // since the owner knows that the catalog is away
    u64 written = 0;

    static constexpr u64 k_places = 64;

    // One write of the next block, one read of another that was written before; each in its time.
    void go_on(Ready& r) {
        auto const device = r.mesh.device(volume);
        ASSERT_TRUE(device) << volume << why(r.world);
        auto const began = r.world.now();
        auto const data = BufferChain(pattern(written, 4096));
        auto const done = r.world.run(r.mesh.machine(owner), device->write(written % k_places * 4096, data, false));
        ASSERT_TRUE(done && *done) << volume << why(r.world);
        ++written;
        u64 const back = std::min(written, (written * 7) % k_places + 1);
        auto const read =
            r.world.run(r.mesh.machine(owner), device->read((written - back) % k_places * 4096, 4096));
        ASSERT_TRUE(read && *read) << volume << why(r.world);
        ASSERT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(written - back, 4096).bytes()))
            << volume;
        ASSERT_LT((r.world.now() - began).ms(), 500) << volume << why(r.world);
    }
};

TEST(OwnerSim, EveryVolumeReadsAndWritesOnWithoutTheCatalog) {
    SimMeshOptions options;
    options.corelets = 3;
    options.witnesses = 5;
    Ready r(58, options, "rep:2");
    std::vector<Traffic> volumes;
    for (usize at = 0; at < options.corelets; ++at) {
        std::string const name = at == 0 ? "v" : "v" + std::to_string(at);
        if (at > 0)
            (void)answer_to(r.mesh, "volume.create",
                            R"({"name":")" + name + R"(","pool":"p","size_bytes":67108864})");
        (void)answer_to(r.mesh, "volume.attach",
                        R"({"name":")" + name + R"(","at":")" + to_string(r.mesh.id(at)) + R"("})");
        volumes.push_back({name, at, {}, 0});
        ASSERT_EQ(r.mesh.server_of(name), at) << why(r.world);
    }
    ASSERT_TRUE(r.world.run_until([&] { return only_witnesses_vote(r.mesh); }, 60_s)) << why(r.world);
    for (usize i = options.corelets; i < r.mesh.size(); ++i) r.mesh.machine(i).crash();
    auto const until = r.world.now() + 60_s;
    while (r.world.now() < until && !HasFatalFailure()) {
        for (Traffic& each : volumes) {
            each.go_on(r);
            auto const& services = r.mesh.node(each.owner)->services();
            if (!each.rolls && !services.catalog->is_available())
                each.rolls = services.volumes->owned().at(each.volume).stream.rolls;
        }
        r.world.run_for(20_ms);
    }
    for (const Traffic& each : volumes) {
        ASSERT_TRUE(each.rolls) << each.volume;
        EXPECT_GT(each.written, 1'000u) << each.volume;
        EXPECT_EQ(r.mesh.node(each.owner)->services().volumes->owned().at(each.volume).stream.rolls, *each.rolls)
            << each.volume << ": standbys are kept for failures" << why(r.world);
    }
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

}  // namespace
}  // namespace corelet
