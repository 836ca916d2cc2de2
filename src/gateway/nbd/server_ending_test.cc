// The server over hand-driven connections: how sessions begin, are refused and end.
#include <gmock/gmock.h>

#include <set>

#include "gateway/nbd/nbd_client_testing.h"
#include "gateway/nbd/server.h"
#include "gateway/nbd/session.h"

namespace corelet::nbd {
namespace {

Task<void> drain_and_say(NbdServer* server, Instant deadline, bool* done) {
    co_await server->drain(deadline);
    *done = true;
}

class NbdEndingTest : public NbdServerTest {};

TEST_F(NbdEndingTest, FencedDeviceIsToldAndClosed) {
    for (Code code : {Code::kFenced, Code::kShutdown}) {
        auto client = attached();
        device->fail_all = code;
        client->write(1, 0, pattern(4096, 1));
        EXPECT_EQ(client->receive().value().error, ErrorNumber::kShutdown);
        EXPECT_TRUE(client->raw.is_closed());
        device->fail_all.reset();
    }
    EXPECT_EQ(server->connection_count(), 0U);
}

// A stock client cannot make out an answer to a write that it is still sending: it is told as soon as the rest is
// there.
TEST_F(NbdEndingTest, FencedAmidALongTransferIsTold) {
    device->fail_all = Code::kFenced;
    auto writer = attached();
    writer->send(Command::kWrite, 1, 0, 8 * k_mib, 0, std::vector<u8>(3 * k_mib / 2));
    world.settle();
    EXPECT_EQ(writer->raw.available(), 0U);
    EXPECT_FALSE(writer->raw.is_closed());
    writer->raw.send(std::vector<u8>(8 * k_mib - 3 * k_mib / 2));
    EXPECT_EQ(writer->receive().value().error, ErrorNumber::kShutdown);
    EXPECT_TRUE(writer->raw.is_closed());
    auto reader = attached();
    reader->send(Command::kRead, 2, 0, 8 * k_mib);
    EXPECT_EQ(reader->receive_read(2, 0, 8 * k_mib).error, ErrorNumber::kShutdown);
    EXPECT_TRUE(reader->raw.is_closed());
    EXPECT_EQ(reader->raw.available(), 0U);
    auto sleeper = attached();
    sleeper->send(Command::kWrite, 1, 0, 8 * k_mib, 0, std::vector<u8>(3 * k_mib / 2));
    world.pass(k_shutdown_linger + 100_ms);
    EXPECT_TRUE(sleeper->raw.is_closed());
}

// One refusal speaks for all that is in flight, whatever the device does with it.
TEST_F(NbdEndingTest, FencedDeviceAnswersAllThatIsInFlight) {
    auto client = attached();
    auto plain = attached({"disk", false, false});
    device->hold();
    for (auto* one : {client.get(), plain.get()}) {
        one->write(1, 0, pattern(4096, 1));
        one->send(Command::kRead, 2, 0, 8 * k_mib);
        one->send(Command::kRead, 3, 0, 8 * k_mib, one == plain.get() ? u16{0} : k_command_df);
        one->send(Command::kTrim, 4, 0, 4096);
        one->send(Command::kFlush, 5, 0, 0);
        if (one == client.get()) one->send(Command::kBlockStatus, 6, 0, 4096);
        world.settle();
    }
    server->close_export("disk");
    for (u64 cookie = 1; cookie <= 6; ++cookie) {
        std::optional<Reply> const reply = client->receive();
        ASSERT_TRUE(reply) << cookie;
        EXPECT_EQ(reply->error, ErrorNumber::kShutdown);
        EXPECT_TRUE(reply->done());
    }
    // The other one's long read waited for the first one's to leave, and what came behind it was not looked at.
    for (u64 cookie = 1; cookie <= 2; ++cookie) {
        std::optional<Reply> const reply = plain->receive();
        ASSERT_TRUE(reply) << cookie;
        EXPECT_EQ(reply->error, ErrorNumber::kShutdown);
    }
    EXPECT_EQ(plain->raw.available(), 0U);
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_TRUE(plain->raw.is_closed());
    EXPECT_EQ(client->raw.available(), 0U);
    EXPECT_EQ(server->connection_count(), 0U);
    device->release();
    world.settle();
    EXPECT_EQ(device.use_count(), 1);
}

// A write that waits for memory when its device goes is read to its end and answered too.
TEST_F(NbdEndingTest, FencedWhileWaitingForMemory) {
    auto client = attached();
    device->hold();
    for (u64 i = 1; i <= 4; ++i) client->write(i, 0, std::vector<u8>(8 * k_mib));
    world.settle();
    server->close_export("disk");
    std::set<u64> told;
    while (auto const reply = client->receive()) {
        EXPECT_EQ(reply->error, ErrorNumber::kShutdown);
        EXPECT_TRUE(told.insert(reply->cookie).second);
    }
    EXPECT_GE(told.size(), 2U);
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(NbdEndingTest, DisconnectAnswersWhatIsOutstanding) {
    auto client = attached();
    device->hold();
    client->send(Command::kRead, 1, 0, 4096);
    client->send(Command::kDisconnect, 2, 0, 0);
    client->send(Command::kRead, 3, 0, 4096);  // after its leave: not looked at
    EXPECT_FALSE(client->raw.is_closed());
    device->release();
    EXPECT_EQ(client->receive_read(1, 0, 4096).error, ErrorNumber::kNone);
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_EQ(client->raw.available(), 0U);
    EXPECT_EQ(device->seen.reads, 1U);
}

TEST_F(NbdEndingTest, ClientThatLeavesWithoutAWordIsForgotten) {
    device->hold();
    auto orderly = attached();
    auto broken = attached();
    for (auto* client : {orderly.get(), broken.get()}) {
        client->write(1, 0, pattern(4096, 1));
        client->send(Command::kRead, 2, 0, 2 * k_mib);
        client->raw.send(std::vector<u8>(5));  // and half a request
    }
    world.settle();
    EXPECT_EQ(server->connection_count(), 2U);
    orderly->raw.hang_up();
    broken->raw.vanish();
    world.pass(k_linger + 1_s);
    EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(NbdEndingTest, SilentHandshakeTimesOut) {
    NbdClient mute(world, address);
    NbdClient half(world, address);
    world.settle();
    half.raw.send(std::vector<u8>{0, 0, 0, 3, 'I', 'H'});
    world.pass(9_s);
    EXPECT_EQ(server->connection_count(), 2U);
    world.pass(2_s);
    EXPECT_EQ(server->connection_count(), 0U);
    EXPECT_TRUE(mute.raw.is_closed());
    EXPECT_TRUE(world.log.has("nbd.handshake_failed"));
}

TEST_F(NbdEndingTest, OversizedOptionIsClosedWithAReason) {
    NbdClient client(world, address);
    (void)client.raw.receive(18);
    std::vector<u8> out;
    BigWriter(out).put(u32{3}).put(k_option_magic).put(u32{6}).put(u32{1 << 30});
    client.raw.send(out);
    EXPECT_TRUE(client.raw.is_closed());
    EXPECT_TRUE(world.log.has("1073741824 bytes"));
}

TEST_F(NbdEndingTest, ConnectionsAreBounded) {
    server.emplace(world.env, NbdServerOptions{3, 3, 10_s, 15_s});
    ASSERT_TRUE(server->add_export("disk", device));
    ASSERT_TRUE(server->listen(address));
    world.settle();
    std::vector<std::unique_ptr<NbdClient>> clients;
    for (int i = 0; i < 3; ++i) clients.push_back(attached());
    NbdClient fourth(world, address);
    EXPECT_TRUE(fourth.raw.is_closed());
    clients.pop_back();
    EXPECT_EQ(server->connection_count(), 3U);
    clients.back()->raw.hang_up();
    world.settle();
    NbdClient fifth(world, address);
    EXPECT_TRUE(fifth.attach());
}

TEST_F(NbdEndingTest, ClientsOfOneExportLeaveRoomForOthers) {
    NbdExportOptions options;
    options.connections_max = 2;
    ASSERT_TRUE(server->add_export("small", device, options));
    auto first = attached({"small", true, true});
    auto second = attached({"small", true, true});
    EXPECT_EQ(server->export_stats("small")->connections, 2U);
    NbdClient third(world, address);
    (void)third.attach({"small", true, true});
    EXPECT_TRUE(third.raw.is_closed());
    EXPECT_TRUE(world.log.has("'small' has 2 clients already"));
    auto other = attached();
    first->raw.hang_up();
    world.settle();
    EXPECT_EQ(server->export_stats("small")->connections, 1U);
    EXPECT_EQ(server->export_stats("small")->connections_total, 2U);
    auto fourth = attached({"small", true, true});
}

TEST_F(NbdEndingTest, HandshakesAreBounded) {
    server.emplace(world.env, NbdServerOptions{100, 2, 10_s, 15_s});
    ASSERT_TRUE(server->add_export("disk", device));
    ASSERT_TRUE(server->listen(address));
    world.settle();
    auto client = attached();
    NbdClient mute(world, address);
    NbdClient mute_too(world, address);
    world.settle();
    NbdClient refused(world, address);
    EXPECT_TRUE(refused.raw.is_closed());
    EXPECT_FALSE(mute_too.raw.is_closed());
    world.pass(11_s);
    auto later = attached();
}

TEST_F(NbdEndingTest, AcceptGoesOnAfterAnError) {
    world.network.fail_accept = Code::kIo;
    NbdClient first(world, address);
    world.pass(1_s);
    NbdClient second(world, address);
    EXPECT_TRUE(second.attach());
    EXPECT_TRUE(world.log.has("nbd.accept_failed"));
}

TEST_F(NbdEndingTest, CloseExportClosesItsClientsAtOnce) {
    ASSERT_TRUE(server->add_export("other", std::make_shared<MemoryBlockDevice>(1 * k_mib)));
    auto client = attached();
    auto other = attached({"other", true, true});
    device->hold();
    client->send(Command::kRead, 1, 0, 4096);
    world.settle();
    server->close_export("disk");
    EXPECT_EQ(client->receive_read(1, 0, 4096).error, ErrorNumber::kShutdown);
    EXPECT_TRUE(client->raw.is_closed());
    device->release();
    EXPECT_EQ(client->raw.available(), 0U);
    EXPECT_EQ(server->connection_count(), 1U);
    EXPECT_EQ(device.use_count(), 1);
    other->send(Command::kRead, 1, 0, 4096);
    EXPECT_EQ(other->receive_read(1, 0, 4096).error, ErrorNumber::kNone);
    NbdClient late(world, address);
    EXPECT_FALSE(late.attach());
    server->close_export("disk");
}

TEST_F(NbdEndingTest, DrainFinishesWhatIsInFlight) {
    auto client = attached();
    NbdClient shaking(world, address);
    device->hold();
    client->send(Command::kRead, 1, 0, 4096);
    world.settle();
    bool done = false;
    scope.spawn(drain_and_say(&*server, world.clock.now() + 1_s, &done));
    world.settle();
    client->send(Command::kRead, 2, 0, 4096);  // too late
    EXPECT_EQ(world.network.dial(address), nullptr);
    EXPECT_TRUE(shaking.raw.is_closed());
    EXPECT_FALSE(done);
    device->release();
    EXPECT_EQ(client->receive_read(1, 0, 4096).error, ErrorNumber::kNone);
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_EQ(client->raw.available(), 0U);
    EXPECT_TRUE(done);
    EXPECT_EQ(server->connection_count(), 0U);
}

TEST_F(NbdEndingTest, DrainWaitsLittleForTheRestOfAPayload) {
    auto writer = attached();
    auto sleeper = attached();
    for (auto* client : {writer.get(), sleeper.get()})
        client->send(Command::kWrite, 1, 0, 8 * k_mib, 0, std::vector<u8>(3 * k_mib / 2));
    world.settle();
    bool done = false;
    scope.spawn(drain_and_say(&*server, world.clock.now() + 10_s, &done));
    world.settle();
    writer->raw.send(std::vector<u8>(8 * k_mib - 3 * k_mib / 2));
    EXPECT_EQ(writer->receive().value().error, ErrorNumber::kNone);
    EXPECT_TRUE(writer->raw.is_closed());
    EXPECT_FALSE(sleeper->raw.is_closed());
    EXPECT_FALSE(done);
    world.pass(k_payload_patience + 100_ms);
    EXPECT_TRUE(sleeper->raw.is_closed());
    EXPECT_EQ(sleeper->raw.available(), 0U);
    EXPECT_TRUE(done);
}

TEST_F(NbdEndingTest, DrainDoesNotWaitForAPayloadThatWasCutOff) {
    auto client = attached();
    device->hold();
    client->send(Command::kWrite, 1, 0, 8 * k_mib, 0, std::vector<u8>(3 * k_mib / 2));
    world.settle();
    bool done = false;
    scope.spawn(drain_and_say(&*server, world.clock.now() + 10_s, &done));
    client->raw.hang_up();
    world.settle();
    EXPECT_FALSE(done);  // the piece that came is being written
    device->release();
    world.settle();
    EXPECT_TRUE(done);
    EXPECT_TRUE(client->raw.is_closed());
}

TEST_F(NbdEndingTest, DrainEndsAtItsDeadline) {
    auto client = attached();
    auto idle = attached();
    device->hold();
    client->send(Command::kRead, 1, 0, 4096);
    world.settle();
    bool done = false;
    scope.spawn(drain_and_say(&*server, world.clock.now() + 1_s, &done));
    world.settle();
    EXPECT_TRUE(idle->raw.is_closed());
    world.pass(900_ms);
    EXPECT_FALSE(done);
    world.pass(200_ms);
    EXPECT_TRUE(done);
    EXPECT_TRUE(client->raw.is_closed());
}

TEST_F(NbdEndingTest, DestroyedAtAnyMoment) {
    auto client = attached();
    NbdClient shaking(world, address);
    device->hold();
    client->write(1, 0, pattern(4096, 1));
    client->send(Command::kRead, 2, 0, 4096);
    world.settle();
    server.reset();
    EXPECT_TRUE(client->raw.is_closed());
    EXPECT_TRUE(shaking.raw.is_closed());
    EXPECT_EQ(device.use_count(), 1);
}

TEST_F(NbdEndingTest, ReplacesItsOwnListenerOnlyWhenTold) {
    EXPECT_EQ(server->listen(address, false).error().code, Code::kExists);
    EXPECT_TRUE(server->listen(address, true));
    server->stop_listening(address);
    EXPECT_EQ(world.network.dial(address), nullptr);
}

}  // namespace
}  // namespace corelet::nbd
