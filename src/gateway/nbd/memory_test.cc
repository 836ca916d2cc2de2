// What clients can make the server hold: slow ones, silent ones, many, greedy. The bound on the process itself is
// judged by tests/nbd over real sockets; here it is the accounting, and that others are served meanwhile.
#include <gmock/gmock.h>

#include "gateway/nbd/nbd_client_testing.h"

namespace corelet::nbd {
namespace {

class NbdMemoryTest : public testing::Test {
  protected:
    NbdMemoryTest() {
        EXPECT_TRUE(server.add_export("disk", device));
        EXPECT_TRUE(server.listen(address));
        world.settle();
    }
    ~NbdMemoryTest() override {
        for (auto& client : clients) client->raw.vanish();
        world.pass(1_s);
        EXPECT_EQ(server.connection_count(), 0U);
        EXPECT_EQ(held(), 0U) << "memory was not given back";
    }
    NbdClient& attached(const Wishes& wishes = {}) {
        clients.push_back(std::make_unique<NbdClient>(world, address));
        EXPECT_TRUE(clients.back()->attach(wishes));
        return *clients.back();
    }
    // Takes no replies, asks for as much as it can.
    NbdClient& greedy_reader(u32 length, int requests, const Wishes& wishes = {}) {
        NbdClient& client = attached(wishes);
        client.raw.set_room(0);
        for (int i = 0; i < requests; ++i) client.send(Command::kRead, static_cast<u64>(i), 0, length);
        world.settle();
        return client;
    }
    bool is_served(NbdClient& client) {
        client.send(Command::kRead, 77, 0, 4096);
        return client.receive().has_value();
    }
    u64 held() { return server.export_stats("disk")->held_bytes; }

    World world;
    Address address = Address::unix_path("/nbd");
    std::shared_ptr<MemoryBlockDevice> device = std::make_shared<MemoryBlockDevice>(64 * k_mib);
    NbdServer server{world.env};
    std::vector<std::unique_ptr<NbdClient>> clients;
};

TEST_F(NbdMemoryTest, IdleConnectionsHoldNothing) {
    for (int i = 0; i < 200; ++i) attached();
    EXPECT_EQ(held(), 0U);
    EXPECT_TRUE(is_served(*clients.front()));
    EXPECT_EQ(held(), 0U);
}

TEST_F(NbdMemoryTest, OneGreedyReaderGetsHalf) {
    for (u32 length : {u32{512}, u32{4096}, u32{64 * k_kib}, u32{k_mib}, u32{32 * k_mib}}) {
        NbdClient& greedy = greedy_reader(length, 3000);
        EXPECT_LE(held(), k_common_lane_bytes / 2 + k_mib);
        NbdClient& good = attached();
        EXPECT_TRUE(is_served(good)) << length;
        greedy.raw.vanish();
        world.settle();
        EXPECT_EQ(held(), 0U) << length;
    }
}

TEST_F(NbdMemoryTest, ClientThatSleepsIsLeftAlone) {
    NbdClient& sleeper = greedy_reader(k_mib, 100);
    world.pass(600_s);
    EXPECT_FALSE(sleeper.raw.is_closed());
    sleeper.raw.set_room(SIZE_MAX);
    for (u64 i = 0; i < 100; ++i) EXPECT_EQ(sleeper.receive_read(i, 0, k_mib).error, ErrorNumber::kNone);
    EXPECT_LE(held(), buffer_cost(64 * k_kib));
}

TEST_F(NbdMemoryTest, SleepersAreClosedWhenOthersNeedTheirMemory) {
    for (int i = 0; i < 30; ++i) greedy_reader(k_mib, 100);
    EXPECT_LE(held(), k_common_lane_bytes);
    NbdClient& good = attached();
    good.send(Command::kRead, 1, 0, k_mib);
    EXPECT_EQ(good.raw.available(), 0U);
    // Those of them that had none yet come first, and fall asleep over it in turn.
    world.pass(40_s);
    EXPECT_EQ(good.receive_read(1, 0, k_mib).error, ErrorNumber::kNone);
    EXPECT_FALSE(good.raw.is_closed());
    EXPECT_TRUE(clients.front()->raw.is_closed());
    EXPECT_TRUE(world.log.has("others waited for memory"));
}

TEST_F(NbdMemoryTest, ClientsThatStopWithinAPayloadAreClosedWhenOthersNeedTheirMemory) {
    for (int i = 0; i < 30; ++i) {
        attached().send(Command::kWrite, 1, 0, 32 * k_mib, 0, std::vector<u8>(100));
        world.settle();
    }
    EXPECT_GE(held(), k_common_lane_bytes - 2 * k_mib);
    NbdClient& good = attached();
    good.write(1, 0, std::vector<u8>(k_mib));
    world.pass(40_s);
    EXPECT_EQ(good.receive().value().error, ErrorNumber::kNone);
}

TEST_F(NbdMemoryTest, OneLongUnfragmentedReadAtATime) {
    Wishes const plain{"disk", false, false};
    NbdClient& first = greedy_reader(32 * k_mib, 5, plain);
    EXPECT_LE(held(), 32 * k_mib + 64 * k_kib);
    // Small requests, and long ones that may come in pieces, do not wait for it.
    NbdClient& small = attached(plain);
    EXPECT_TRUE(is_served(small));
    (void)small.raw.receive(4096);
    NbdClient& fragmenting = attached();
    fragmenting.send(Command::kRead, 9, 0, 32 * k_mib);
    EXPECT_EQ(fragmenting.receive_read(9, 0, 32 * k_mib).error, ErrorNumber::kNone);
    // Another long one does, until the sleeper is closed.
    NbdClient& second = attached(plain);
    second.send(Command::kRead, 9, 0, 32 * k_mib);
    EXPECT_EQ(second.raw.available(), 0U);
    world.pass(20_s);
    EXPECT_TRUE(first.raw.is_closed());
    EXPECT_EQ(second.receive(32 * k_mib)->data.size(), 32 * k_mib);
}

TEST_F(NbdMemoryTest, RequestsInFlightAreBounded) {
    device->hold();
    NbdClient& client = attached();
    for (u64 i = 0; i < 1000; ++i) client.send(Command::kTrim, i, 0, 4096);
    world.settle();
    EXPECT_EQ(device->seen.waiting, 256U);
    device->release();
    for (u64 i = 0; i < 1000; ++i) EXPECT_EQ(client.receive().value().cookie, i);
}

TEST_F(NbdMemoryTest, EveryKindOfAnswerGivesBackWhatItHeld) {
    NbdClient& client = attached();
    NbdClient& plain = attached({"disk", false, false});
    for (bool failing : {false, true}) {
        if (failing) device->fail_all = Code::kCorrupt;
        for (NbdClient* one : {&client, &plain}) {
            for (u32 length : {u32{512}, u32{4096}, u32{3 * k_mib}}) {
                one->write(1, 4096, std::vector<u8>(length));
                (void)one->receive();
                one->send(Command::kRead, 2, 4096, length);
                (void)one->receive_read(2, 4096, length);
                for (Command command :
                     {Command::kTrim, Command::kWriteZeroes, Command::kCache, Command::kBlockStatus}) {
                    one->send(command, 3, 4096, length);
                    (void)one->receive();
                }
                one->write(4, 1, std::vector<u8>(length));  // refused
                (void)one->receive();
                EXPECT_EQ(one->raw.available(), 0U);
                for (int i = 0; i < 200; ++i) {  // a large receive buffer goes when small requests follow
                    one->send(Command::kFlush, 5, 0, 0);
                    (void)one->receive();
                }
                EXPECT_EQ(held(), 0U) << length << (failing ? " failing" : "");
            }
        }
    }
}

TEST_F(NbdMemoryTest, SlowDeviceHoldsBackItsClients) {
    device->hold();
    for (int i = 0; i < 20; ++i) {
        NbdClient& client = attached();
        for (u64 j = 0; j < 4; ++j) client.write(j, 0, std::vector<u8>(2 * k_mib));
        world.settle();
    }
    EXPECT_LE(held(), k_common_lane_bytes);
    device->release();
    for (auto& client : clients) {
        for (u64 j = 0; j < 4; ++j) ASSERT_EQ(client->receive().value().error, ErrorNumber::kNone);
    }
}

}  // namespace
}  // namespace corelet::nbd
