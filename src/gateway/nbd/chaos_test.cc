// Many clients that do anything, sent in pieces of any size, against a device that fails and stalls: each request
// is answered once at most, in whole messages, and whatever ends however, everything is given back.
#include <gmock/gmock.h>

#include "gateway/nbd/nbd_client_testing.h"
#include "gateway/nbd/session.h"

namespace corelet::nbd {
namespace {

// A client with a send queue of its own, and a reader of whatever the server says.
class ChaosClient {
  public:
    ChaosClient(World& world, const Address& address, Prng dice, bool structured)
        : nbd_(world, address), dice_(dice) {
        if (!nbd_.attach({"disk", structured, true})) gone_ = true;
        if (dice_.chance(1, 3)) nbd_.raw.set_room(dice_.below(100'000));
    }
    [[nodiscard]] bool is_gone() const { return gone_; }

    void ask() {
        static constexpr u32 k_lengths[] = {0, 511, 512, 4096, 65536, 1 << 20, 5 << 20, 32 << 20};
        auto const command = static_cast<Command>(dice_.below(9));
        u32 const length = command == Command::kFlush ? 0 : k_lengths[dice_.below(dice_.chance(1, 8) ? 8 : 5)];
        u64 const offset = command == Command::kFlush ? 0 : dice_.below(65 * 2048) * 512;
        u16 const flags = dice_.chance(1, 3) ? static_cast<u16>(1 << dice_.below(5)) : u16{0};
        if (command == Command::kDisconnect && !dice_.chance(1, 20)) return;
        std::vector<u8> bytes;
        BigWriter(bytes)
            .put(k_request_magic)
            .put(flags)
            .put(static_cast<u16>(command))
            .put(++cookie_)
            .put(offset)
            .put(length);
        if (command == Command::kWrite) bytes.resize(bytes.size() + length, 0xAB);
        lengths_[cookie_] = command == Command::kRead ? length : 0;
        queue_.insert(queue_.end(), bytes.begin(), bytes.end());
    }
    void send_some() {
        usize const part =
            std::min<usize>(queue_.size() - sent_, 1 + dice_.below(dice_.chance(1, 2) ? 40 : 300'000));
        nbd_.raw.send(Bytes(queue_).subspan(sent_, part));
        sent_ += part;
        if (sent_ == queue_.size()) {
            queue_.clear();
            sent_ = 0;
        }
    }
    // Reads messages as long as there are whole headers.
    void listen(u64 most) {
        for (; most > 0 && nbd_.raw.available() >= k_simple_reply_bytes; --most) take_message();
    }
    void leave() {
        gone_ = true;
        dice_.chance(1, 2) ? nbd_.raw.hang_up() : nbd_.raw.vanish();
    }
    void take_all() {
        nbd_.raw.set_room(SIZE_MAX);
        listen(UINT64_MAX);
    }
    [[nodiscard]] bool is_closed() { return nbd_.raw.is_closed(); }
    u64 answers = 0;
    u64 errors = 0;

  private:
    void take_message() {
        std::vector<u8> const head = nbd_.raw.receive(k_simple_reply_bytes);
        u64 const cookie = load_be<u64>(head.data() + 8);
        auto const asked = lengths_.find(cookie);
        ASSERT_NE(asked, lengths_.end()) << "an answer to nothing, or a second one";
        bool done = true;
        if (load_be<u32>(head.data()) == k_simple_reply_magic) {
            u32 const error = load_be<u32>(head.data() + 4);
            errors += error != 0 ? 1 : 0;
            if (error == 0) (void)nbd_.raw.receive(asked->second);
        } else {
            ASSERT_EQ(load_be<u32>(head.data()), k_chunk_magic);
            done = (load_be<u16>(head.data() + 4) & k_chunk_done) != 0;
            errors += load_be<u16>(head.data() + 6) >= 0x8000 ? 1 : 0;
            std::vector<u8> const size = nbd_.raw.receive(4);
            if (size.size() == 4) (void)nbd_.raw.receive(load_be<u32>(size.data()));
        }
        if (!done) return;
        lengths_.erase(asked);
        ++answers;
    }

    NbdClient nbd_;
    Prng dice_;
    u64 cookie_ = 0;
    std::map<u64, u32> lengths_;  // of what a simple reply to each unanswered request carries
    std::vector<u8> queue_;
    usize sent_ = 0;
    bool gone_ = false;
};

void run_chaos(u64 seed, u64* answers, u64* errors) {
    Prng dice(seed);
    World world;
    Address const address = Address::unix_path("/nbd");
    auto device = std::make_shared<MemoryBlockDevice>(64 * k_mib);
    device->blocks_max = dice.chance(1, 4) ? dice.below(4000) : UINT64_MAX;
    for (u64 i = dice.below(4); i > 0; --i) device->fail_at[dice.below(16384) * k_block_bytes] = Code::kLost;
    NbdServer server(world.env, {12, 12, 10_s, 2_s});
    ASSERT_TRUE(server.add_export("disk", device));
    ASSERT_TRUE(server.listen(address));
    world.settle();
    std::vector<std::unique_ptr<ChaosClient>> clients;
    for (int step = 0; step < 400; ++step) {
        if (clients.size() < 8 && dice.chance(1, 6)) {
            clients.push_back(
                std::make_unique<ChaosClient>(world, address, dice.fork("client", step), dice.chance(2, 3)));
        }
        if (clients.empty()) continue;
        usize const which = dice.below(clients.size());
        ChaosClient& client = *clients[which];
        switch (dice.below(8)) {
            case 0:
            case 1:
            case 2:
                client.ask();
                break;
            case 3:
            case 4:
                client.send_some();
                break;
            case 5:
                client.listen(dice.below(20));
                break;
            case 6:
                dice.chance(1, 2) ? device->hold() : device->release();
                break;
            default:
                world.pass(Duration{static_cast<i64>(dice.below(500'000'000))});
                break;
        }
        ASSERT_LE(server.export_stats("disk")->held_bytes, k_common_lane_bytes + k_block_maximum);
        if (dice.chance(1, 60)) client.leave();
        if (!client.is_gone() && !client.is_closed()) continue;
        *answers += client.answers;
        *errors += client.errors;
        clients.erase(clients.begin() + static_cast<std::ptrdiff_t>(which));
    }
    device->release();
    for (auto& client : clients) {
        client->take_all();
        *answers += client->answers;
        *errors += client->errors;
        client->leave();
    }
    world.pass(30_s);
    EXPECT_EQ(server.connection_count(), 0U) << seed;
    EXPECT_EQ(server.export_stats("disk")->held_bytes, 0U) << seed;
    EXPECT_EQ(device->seen.unaligned_buffers, 0U) << seed;
}

TEST(NbdChaosTest, EverythingIsAnsweredOnceAndGivenBack) {
    u64 answers = 0;
    u64 errors = 0;
    for (u64 seed = 1; seed <= 60; ++seed) {
        run_chaos(seed, &answers, &errors);
        if (testing::Test::HasFailure()) FAIL() << "seed " << seed;
    }
    EXPECT_GT(answers, 1000U);
    EXPECT_GT(errors, 200U);
}

}  // namespace
}  // namespace corelet::nbd
