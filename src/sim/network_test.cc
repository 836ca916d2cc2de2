#include "sim/network.h"

#include <gtest/gtest.h>

#include "sim/world.h"

namespace corelet::sim {
namespace {

Task<void> idle(Env* env) {
    while (true) co_await env->clock.sleep(1_s);
}
struct Ends {
    std::unique_ptr<Connection> client;
    std::unique_ptr<Connection> server;
};
Task<Result<std::unique_ptr<Connection>>> accept_one(Listener* listener) {
    return listener->accept();
}
Task<Result<std::unique_ptr<Connection>>> connect_to(Env* env, Address address) {
    return env->network.connect(address);
}
Buffer pattern(usize size) {
    Buffer out = Buffer::allocate(size);
    for (usize i = 0; i < size; ++i) out.mutable_data()[i] = static_cast<u8>(i + i / 256);
    return out;
}
Task<void> read_into(Connection* from, Buffer target, std::optional<Result<usize>>* out) {
    out->emplace(co_await from->read(target, 0, target.size()));
}
Task<void> write_into(Connection* to, usize size, std::optional<Result<void>>* out) {
    out->emplace(co_await to->write(pattern(size)));
}

// Two machines with a connection from a (0) to b (1), whose ends the test holds.
class Link : public testing::Test {
  protected:
    explicit Link(WorldOptions options = small_window())
        : world(1, options), a(world.add_node("a")), b(world.add_node("b")) {
        a.start([](Env& env) { return idle(&env); });
        b.start([](Env& env) { return idle(&env); });
        listener = *b.env().network.listen(Address::tcp("b", 7), {});
        connect();
    }
    ~Link() override {
        // Ends that a test holds are let go before their processes.
        ends = {};
        listener.reset();
    }
    static WorldOptions small_window() {
        WorldOptions options;
        options.network.window_bytes = 64 * k_kib;
        options.network.tail_per_million = 0;
        return options;
    }
    void connect() {
        ends.client = **world.run(a, connect_to(&a.env(), Address::tcp("b", 7)));
        ends.server = **world.run(b, accept_one(listener.get()));
    }
    World world;
    Node& a;
    Node& b;
    std::unique_ptr<Listener> listener;
    Ends ends;
    std::optional<Result<usize>> read;
    std::optional<Result<void>> written;
};

TEST_F(Link, WhatIsCutWaitsAndArrivesAfterTheMending) {
    Buffer const target = Buffer::allocate(1'000);
    world.partition({0}, {1});
    a.spawn(write_into(ends.client.get(), 1'000, &written));
    b.spawn(read_into(ends.server.get(), target, &read));
    world.run_for(30_s);
    EXPECT_TRUE(written && *written) << "it fits into the window";
    EXPECT_FALSE(read);
    world.heal_network();
    world.run_for(1_s);
    ASSERT_TRUE(read && *read);
    EXPECT_TRUE(std::ranges::equal(target.bytes(), pattern(1'000).bytes()));
}

TEST_F(Link, AWriterThatHearsNoAcknowledgementStopsAtTheWindow) {
    Buffer const target = Buffer::allocate(500'000);
    world.partition_one_way({1}, {0});
    a.spawn(write_into(ends.client.get(), 500'000, &written));
    b.spawn(read_into(ends.server.get(), target, &read));
    world.run_for(10_s);
    EXPECT_FALSE(written);
    EXPECT_FALSE(read) << "a window of 64 KiB arrived, and no more";
    world.heal_network();
    world.run_for(5_s);
    ASSERT_TRUE(written && *written && read && *read);
    EXPECT_TRUE(std::ranges::equal(target.bytes(), pattern(500'000).bytes()));
}

TEST_F(Link, UnacknowledgedForTooLongBreaksTheConnection) {
    world.partition({0}, {1});
    a.spawn(write_into(ends.client.get(), 500'000, &written));
    world.run_for(world.fabric().model.stream_timeout + 10_s);
    ASSERT_TRUE(written);
    EXPECT_EQ(written->error().code, Code::kReset);
}

Task<void> hold(std::unique_ptr<Listener> listener) {
    auto const connection = co_await listener->accept();
    auto const second = co_await listener->accept();
}
TEST(Crashes, WhatTheOtherEndSees) {
    for (Ending const ending : {Ending::kKill, Ending::kPower}) {
        World world(7);
        auto& a = world.add_node("a");
        auto& b = world.add_node("b");
        auto const serve = [](Env& env) { return hold(*env.network.listen(Address::tcp("b", 7), {})); };
        a.start([](Env& env) { return idle(&env); });
        b.start(serve);
        auto connection = **world.run(a, connect_to(&a.env(), Address::tcp("b", 7)));
        std::optional<Result<usize>> read;
        a.spawn(read_into(connection.get(), Buffer::allocate(10), &read));
        world.run_for(10_ms);
        b.crash(ending);
        world.run_for(5_s);
        EXPECT_EQ(read.has_value(), ending == Ending::kKill) << "a dead machine says nothing";
        if (ending == Ending::kPower) {
            b.restart();
            world.run_for(1_s);
            EXPECT_FALSE(read) << "nor does one that has forgotten, until it is asked";
            std::optional<Result<void>> written;
            a.spawn(write_into(connection.get(), 10, &written));
            world.run_for(1_s);
            ASSERT_TRUE(read);
            EXPECT_EQ(read->error().code, Code::kReset);
        }
        connection.reset();
    }
}

TEST(Crashes, KeepAliveTellsWhoOnlyListens) {
    World world(8);
    auto& a = world.add_node("a");
    auto& b = world.add_node("b");
    a.start([](Env& env) { return idle(&env); });
    b.start([](Env& env) { return hold(*env.network.listen(Address::tcp("b", 7), {})); });
    auto connection = **world.run(a, connect_to(&a.env(), Address::tcp("b", 7)));
    std::optional<Result<usize>> read;
    a.spawn(read_into(connection.get(), Buffer::allocate(10), &read));
    world.run_for(10_ms);
    b.crash(Ending::kPower);
    world.run_for(world.fabric().model.keepalive + 1_s);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->error().code, Code::kReset);
    connection.reset();
}

// A reset in the middle of a message leaves a prefix of it, of any length.
TEST(Resets, CutAMessageAnywhere) {
    std::set<usize> lengths;
    for (u64 seed = 1; seed <= 60; ++seed) {
        World world(seed);
        auto& a = world.add_node("a");
        auto& b = world.add_node("b");
        a.start([](Env& env) { return idle(&env); });
        b.start([](Env& env) { return idle(&env); });
        auto listener = *b.env().network.listen(Address::tcp("b", 7), {});
        auto client = **world.run(a, connect_to(&a.env(), Address::tcp("b", 7)));
        auto server = **world.run(b, accept_one(listener.get()));
        ASSERT_TRUE(world.run(a, client->write(pattern(1'000))));
        world.run_for(100_ms);
        Prng prng = world.fork("test");
        ASSERT_TRUE(world.fabric().reset_random_stream(prng, false));
        usize length = 0;
        Buffer const target = Buffer::allocate(1'000);
        while (true) {
            auto const got = *world.run(b, server->read(target, length, 1));
            if (!got) {
                EXPECT_EQ(got.error().code, Code::kReset);
                break;
            }
            length += *got;
            if (length == 1'000) break;
        }
        EXPECT_TRUE(std::ranges::equal(target.slice(0, length).bytes(), pattern(1'000).slice(0, length).bytes()));
        lengths.insert(length);
        client.reset();
        server.reset();
    }
    EXPECT_GT(lengths.size(), 30U);
}

Task<void> collect(DatagramSocket* socket, std::vector<u64>* got) {
    while (true) {
        auto const datagram = co_await socket->receive();
        if (!datagram) co_return;
        u64 number = 0;
        std::memcpy(&number, datagram->data.data(), sizeof(number));
        got->push_back(number);
    }
}
Task<void> send_many(Env* env, DatagramSocket* socket, Address to, u64 count) {
    for (u64 i = 0; i < count; ++i) {
        socket->send(to, Buffer::copy_of(Bytes(reinterpret_cast<const u8*>(&i), sizeof(i))));
        co_await env->clock.sleep(1_ms);
    }
}
TEST(Datagrams, AreLostDoubledAndReorderedByTheirRates) {
    WorldOptions options;
    options.network.datagram_loss_per_million = 100'000;
    options.network.datagram_duplicate_per_million = 50'000;
    options.network.datagram_reorder_per_million = 50'000;
    World world(9, options);
    auto& a = world.add_node("a");
    auto& b = world.add_node("b");
    a.start([](Env& env) { return idle(&env); });
    b.start([](Env& env) { return idle(&env); });
    auto from = *a.env().network.bind_datagram(Address::tcp("a", 9));
    auto to = *b.env().network.bind_datagram(Address::tcp("b", 9));
    std::vector<u64> got;
    b.spawn(collect(to.get(), &got));
    world.run(a, send_many(&a.env(), from.get(), Address::tcp("b", 9), 10'000));
    world.run_for(1_s);
    std::set<u64> const distinct(got.begin(), got.end());
    EXPECT_NEAR(static_cast<double>(distinct.size()), 9'000, 200);
    EXPECT_NEAR(static_cast<double>(got.size() - distinct.size()), 450, 150);
    EXPECT_FALSE(std::ranges::is_sorted(got));
    world.partition({0}, {1});
    usize const before = got.size();
    world.run(a, send_many(&a.env(), from.get(), Address::tcp("b", 9), 100));
    world.heal_network();
    world.run_for(1_s);
    EXPECT_EQ(got.size(), before) << "nobody repeats a datagram";
}

Task<void> ring(Env* env, u32 self, u32 count, u64* rounds) {
    auto const own = Address::tcp("n" + std::to_string(self), 7);
    auto const next = Address::tcp("n" + std::to_string((self + 1) % count), 7);
    auto listener = env->network.listen(own, {});
    CORELET_ASSERT(listener.has_value());
    co_await env->clock.sleep(10_ms);
    auto out = co_await env->network.connect(next);
    auto in = co_await (*listener)->accept();
    CORELET_ASSERT(out.has_value() && in.has_value());
    Buffer const target = Buffer::allocate(8);
    while (true) {
        auto const written = co_await (*out)->write(Buffer::zeroed(8));
        auto const got = co_await (*in)->read(target, 0, 8);
        CORELET_ASSERT(written.has_value() && got.has_value());
        ++*rounds;
    }
}
TEST(World, AHundredNodesInOneProcess) {
    World world(10);
    u64 rounds = 0;
    for (u32 i = 0; i < 100; ++i) {
        world.add_node("n" + std::to_string(i)).start([&, i](Env& env) { return ring(&env, i, 100, &rounds); });
    }
    ASSERT_TRUE(world.run_for(200_ms)) << world.failure();
    EXPECT_GT(rounds, 20'000U);
}

}  // namespace
}  // namespace corelet::sim
