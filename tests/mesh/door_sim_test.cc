// A volume's door at a client's machine (docs/protocols.md, doors): it follows the owner, what it sends again
// counts once, and what an earlier door sent is over.
#include <gtest/gtest.h>

#include "tests/mesh/door_machine.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

SimMeshOptions with_key(SimMeshOptions options) {
    options.admin_key = "the key of the simulated mesh, 32 digits";
    return options;
}

SimMeshOptions nine_in_three_zones() {
    SimMeshOptions options;
    options.corelets = 9;
    options.zones = 3;
    return with_key(options);
}

// Writes block after block and reads each back, until told to stop; what is refused or wrong comes to `error`.
struct Client {
    u64 done = 0;
    bool stop = false;
    bool stopped = false;
    std::string error;
    Instant last;
    Duration longest;
};
constexpr u64 k_door_blocks = 64;

Task<void> write_and_read(Env* env, FollowedVolume* volume, Client* client) {
    client->last = env->clock.now();
    for (u64 n = 0; !client->stop && client->error.empty(); ++n) {
        u64 const offset = n % k_door_blocks * 4096;
        auto const written = co_await volume->write(offset, BufferChain(pattern(n, 4096)), false);
        auto const read = co_await volume->read(offset, 4096);
        if (!written) client->error = "write: " + written.error().to_string();
        if (!read) client->error = "read: " + read.error().to_string();
        if (read && !std::ranges::equal(read->flatten().bytes(), pattern(n, 4096).bytes()))
            client->error = "another block than was written";
        client->longest = std::max(client->longest, env->clock.now() - client->last);
        client->done = n + 1;
        co_await env->clock.sleep(5_ms);
        client->last = env->clock.now();
    }
    client->stopped = true;
}

// What is in each block, by the mesh's own word.
void expect_all_there(Ready& r, const Client& client) {
    for (u64 n = client.done < k_door_blocks ? 0 : client.done - k_door_blocks; n < client.done; ++n) {
        auto const server = r.mesh.server_of("v");
        ASSERT_TRUE(server) << why(r.world);
        auto const read =
            r.world.run(r.mesh.machine(*server), r.mesh.device("v")->read(n % k_door_blocks * 4096, 4096), 20_s);
        ASSERT_TRUE(read && *read) << why(r.world);
        EXPECT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(n, 4096).bytes())) << "block " << n;
    }
}

bool goes_on(Ready& r, const Client& client, Duration bound) {
    u64 const wanted = client.done + 5;
    return r.world.run_until([&] { return client.done >= wanted || !client.error.empty(); }, bound) &&
           client.error.empty();
}

TEST(DoorSim, AClientSeesNoErrorWhenItsOwnerMovesHangsOrDies) {
    Ready r(71, with_key(six()), "rep:3");
    DoorMachine door(r.mesh, "door", "v");
    ASSERT_TRUE(door.start()) << why(r.world);
    Client client;
    door.machine().spawn(write_and_read(&door.machine().env(), door.volume(), &client));
    ASSERT_TRUE(goes_on(r, client, 10_s)) << client.error << why(r.world);

    usize const first = *r.mesh.server_of("v"), second = (first + 1) % 6;
    ASSERT_TRUE(r.mesh.command("volume.attach", R"({"name":"v","at":")" + to_string(r.mesh.id(second)) + R"("})"));
    EXPECT_TRUE(goes_on(r, client, 5_s)) << client.error << why(r.world);

    r.mesh.machine(second).pause();
    EXPECT_TRUE(goes_on(r, client, 11_s))
        << "the one who hangs is not waited for; " << client.error << why(r.world);
    ASSERT_GT(r.mesh.servers_of("v").size(), 1U) << "another one has taken it, and the one who hangs does not know";
    r.mesh.machine(second).resume();
    r.world.run_for(15_s);

    r.mesh.machine(*r.mesh.server_of("v")).crash();
    EXPECT_TRUE(goes_on(r, client, 15_s)) << client.error << why(r.world);
    client.stop = true;
    ASSERT_TRUE(r.world.run_until([&] { return client.stopped; }, 20_s)) << why(r.world);
    EXPECT_EQ(client.error, "");
    EXPECT_GE(door.volume()->stats().owners, 4U);
    EXPECT_GE(door.volume()->stats().repeated, 2U);
    expect_all_there(r, client);
}

TEST(DoorSim, AZoneWithTheOwnerInItIsAPauseOfLessThanTenSeconds) {
    Ready r(72, nine_in_three_zones(), "rep:3");
    DoorMachine door(r.mesh, "door", "v");
    ASSERT_TRUE(door.start()) << why(r.world);
    Client client;
    door.machine().spawn(write_and_read(&door.machine().env(), door.volume(), &client));
    ASSERT_TRUE(goes_on(r, client, 10_s)) << client.error << why(r.world);
    usize const zone = *r.mesh.server_of("v") % 3;
    for (usize i = zone; i < 9; i += 3) r.mesh.machine(i).crash();
    EXPECT_TRUE(goes_on(r, client, 15_s)) << client.error << why(r.world);
    EXPECT_LT(client.longest, 10_s);
    client.stop = true;
    ASSERT_TRUE(r.world.run_until([&] { return client.stopped; }, 20_s)) << why(r.world);
    EXPECT_EQ(client.error, "");
    expect_all_there(r, client);
}

// The owner answers, and the answers do not arrive: what it did is done again, and done once.
TEST(DoorSim, AnswersThatAreLostAreAskedForAgain) {
    Ready r(73, with_key(six()), "rep:3");
    DoorMachine door(r.mesh, "door", "v");
    ASSERT_TRUE(door.start()) << why(r.world);
    Client client;
    door.machine().spawn(write_and_read(&door.machine().env(), door.volume(), &client));
    for (int round = 0; round < 4; ++round) {
        ASSERT_TRUE(goes_on(r, client, 10_s)) << client.error << why(r.world);
        r.world.partition_one_way({static_cast<u32>(*r.mesh.server_of("v"))}, {door.node_index()});
        r.world.run_for(4_s);
        r.world.heal_network();
    }
    ASSERT_TRUE(goes_on(r, client, 10_s)) << client.error << why(r.world);
    client.stop = true;
    ASSERT_TRUE(r.world.run_until([&] { return client.stopped; }, 20_s)) << why(r.world);
    EXPECT_GE(door.volume()->stats().repeated, 2U) << "else this has tested nothing";
    EXPECT_EQ(client.error, "");
    expect_all_there(r, client);
}

// A write of the earlier door is stuck on its way. Whoever follows the volume now has written the block since.
TEST(DoorSim, WhatAnEarlierDoorSentIsOverWhenALaterOneIsServed) {
    Ready r(74, with_key(six()), "rep:3");
    DoorMachine earlier(r.mesh, "earlier", "v"), later(r.mesh, "later", "v");
    ASSERT_TRUE(earlier.start()) << why(r.world);
    auto const begun = r.world.run(earlier.machine(), earlier.volume()->write(0, pattern(1, 4096), false), 10_s);
    ASSERT_TRUE(begun && *begun) << why(r.world);
    u32 const owner = static_cast<u32>(*r.mesh.server_of("v"));
    r.world.partition_one_way({earlier.node_index()}, {owner});
    auto const stuck = r.world.run(earlier.machine(), earlier.volume()->write(0, pattern(2, 4096), false), 300_ms);
    EXPECT_FALSE(stuck.has_value()) << "it is on its way";

    ASSERT_TRUE(later.start()) << why(r.world);
    auto const written = r.world.run(later.machine(), later.volume()->write(0, pattern(3, 4096), false), 10_s);
    ASSERT_TRUE(written && *written) << why(r.world);
    r.world.heal_network();
    EXPECT_TRUE(r.world.run_until([&] { return earlier.volume()->ended().is_set(); }, 20_s)) << why(r.world);
    EXPECT_EQ(earlier.volume()->end_reason().code, Code::kConflict);
    auto const refused = r.world.run(earlier.machine(), earlier.volume()->write(0, pattern(4, 4096), false), 10_s);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->error().code, Code::kShutdown);
    auto const read = r.world.run(later.machine(), later.volume()->read(0, 4096), 10_s);
    ASSERT_TRUE(read && *read) << why(r.world);
    EXPECT_TRUE(std::ranges::equal((*read)->flatten().bytes(), pattern(3, 4096).bytes()));
}

TEST(DoorSim, WithoutTheMeshsKeyNobodyIsLetIn) {
    Ready r(75, with_key(six()), "rep:3");
    DoorMachine door(r.mesh, "door", "v");
    door.present_key("another one");
    ASSERT_TRUE(door.start()) << why(r.world);
    auto const written = r.world.run(door.machine(), door.volume()->write(0, pattern(1, 4096), false), 20_s);
    ASSERT_TRUE(written) << why(r.world);
    EXPECT_EQ(written->error().code, Code::kShutdown);
    EXPECT_EQ(door.volume()->end_reason().code, Code::kDenied);
}

}  // namespace
}  // namespace corelet
