#include "sim/world.h"

#include <gtest/gtest.h>

namespace corelet::sim {
namespace {

Task<void> idle(Env* env) {
    while (true) co_await env->clock.sleep(1_s);
}
Task<void> boot_idle(Env& env) {
    return idle(&env);
}

Task<void> serve_echo(std::unique_ptr<Connection> connection) {
    while (true) {
        Buffer const target = Buffer::allocate(4096);
        auto const got = co_await connection->read(target, 0, 1);
        if (!got) co_return;
        auto const written = co_await connection->write(target.slice(0, *got));
        if (!written) co_return;
    }
}
Task<void> echo_main(Env* env, Address address) {
    auto listener = env->network.listen(address, {});
    CORELET_ASSERT(listener.has_value());
    Scope scope(env->executor);
    while (true) {
        auto connection = co_await (*listener)->accept();
        if (!connection) co_return;
        scope.spawn(serve_echo(*std::move(connection)));
    }
}
Node::Boot boots_echo(Address address) {
    return [address](Env& env) { return echo_main(&env, address); };
}

// Sends `bytes` of a pattern through the echo and compares what comes back.
Task<Result<usize>> echo_bytes(Env* env, Address address, usize bytes) {
    CO_TRY(auto connection, co_await env->network.connect(address));
    Buffer sent = Buffer::allocate(bytes);
    for (usize i = 0; i < bytes; ++i) sent.mutable_data()[i] = static_cast<u8>(i * 7 + i / 256);
    Buffer const target = Buffer::allocate(bytes);
    for (usize at = 0; at < bytes;) {
        usize const part = std::min<usize>(bytes - at, 10'000);
        CO_TRY_VOID(co_await connection->write(sent.slice(at, part)));
        at += part;
        CO_TRY_VOID(co_await connection->read(target.slice(at - part, part), 0, part));
    }
    if (!std::ranges::equal(sent.bytes(), target.bytes())) co_return fail(Code::kCorrupt);
    co_return bytes;
}

TEST(World, EchoesOverTcpAndUnixSockets) {
    World world(1);
    NodeOptions shared_host;
    shared_host.host = "h";
    auto& server = world.add_node("server", shared_host);
    auto& near = world.add_node("near", shared_host);
    auto& far = world.add_node("far");
    near.start(boot_idle);
    far.start(boot_idle);
    for (Address const& address : {Address::tcp("server", 7), Address::unix_path("/run/echo")}) {
        server.start(boots_echo(address));
        auto const local = world.run(near, echo_bytes(&near.env(), address, 100'000));
        ASSERT_TRUE(local && *local) << address.to_string();
        auto const remote = world.run(far, echo_bytes(&far.env(), address, 100'000));
        ASSERT_TRUE(remote);
        EXPECT_EQ(remote->has_value(), address.kind == Address::Kind::kTcp) << "paths are local to a host";
        server.crash(Ending::kKill);
    }
}

TEST(World, RefusedWhenNobodyListensTimedOutWhenCut) {
    World world(2);
    auto& a = world.add_node("a");
    auto& b = world.add_node("b");
    a.start(boot_idle);
    b.start(boot_idle);
    auto const refused = world.run(a, echo_bytes(&a.env(), Address::tcp("b", 9), 1));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->error().code, Code::kReset);
    EXPECT_LT(world.now().ns, Duration(1_s).ns);
    world.partition_one_way({1}, {0});
    auto const lost = world.run(a, echo_bytes(&a.env(), Address::tcp("b", 9), 1));
    ASSERT_TRUE(lost);
    EXPECT_EQ(lost->error().code, Code::kTimeout);
}

struct Counters {
    u64 rounds = 0;
    u64 resets = 0;
};
Task<void> keep_echoing(Env* env, Address address, Counters* counters) {
    while (true) {
        // An end whose peer lost power is told nothing until it sends: only a deadline helps.
        auto const done = co_await with_timeout<usize>(env->clock, 2_s, echo_bytes(env, address, 20'000));
        if (done) {
            ++counters->rounds;
        } else {
            ++counters->resets;
        }
        co_await env->clock.sleep(10_ms);
    }
}

u64 run_of_faults(u64 seed, Counters* counters) {
    World world(seed);
    auto& server = world.add_node("server");
    auto& client = world.add_node("client");
    Address const address = Address::tcp("server", 7);
    server.start(boots_echo(address));
    client.start([=](Env& env) { return keep_echoing(&env, address, counters); });
    Prng random = world.fork("test");
    for (int i = 0; i < 30; ++i) {
        EXPECT_TRUE(world.run_for(Duration{static_cast<i64>(random.below(500'000'000))})) << world.failure();
        switch (random.below(5)) {
            case 0:
                server.crash(random.chance(1, 2) ? Ending::kKill : Ending::kPower);
                break;
            case 1:
                world.partition({0}, {1});
                break;
            case 2:
                world.fabric().reset_random_stream(random, random.chance(1, 2));
                break;
            case 3:
                server.pause(random.chance(1, 2));
                break;
            default:
                break;
        }
        EXPECT_TRUE(world.run_for(Duration{static_cast<i64>(random.below(500'000'000))})) << world.failure();
        world.heal_network();
        if (!server.is_up()) server.restart();
        server.resume();
    }
    u64 const before = counters->rounds;
    EXPECT_TRUE(world.run_until([&] { return counters->rounds > before + 5; }, 300_s)) << world.backtraces();
    return world.hash();
}

TEST(World, FaultsInterruptAndTheSameSeedGivesTheSameRun) {
    std::set<u64> hashes;
    u64 resets = 0;
    for (u64 seed = 1; seed <= 10; ++seed) {
        Counters first, second;
        u64 const hash = run_of_faults(seed, &first);
        EXPECT_EQ(hash, run_of_faults(seed, &second));
        EXPECT_EQ(first.rounds, second.rounds);
        EXPECT_GT(first.rounds, 20U);
        resets += first.resets;
        hashes.insert(hash);
    }
    EXPECT_GT(resets, 10U);
    EXPECT_EQ(hashes.size(), 10U) << "seeds differ";
}

Task<void> wait_for(corelet::Event* event) {
    co_await event->wait();
}

TEST(World, NothingLeftToHappenIsADeadlockWithABacktrace) {
    World world(3);
    auto& a = world.add_node("a");
    corelet::Event never;
    a.start([&](Env&) { return wait_for(&never); });
    EXPECT_FALSE(world.run_until([] { return false; }, 10_s));
    EXPECT_NE(world.failure().find("deadlock"), std::string::npos);
    EXPECT_NE(world.failure().find("wait_for"), std::string::npos) << world.failure();
}

Task<void> spin() {
    while (true) co_await yield();
}
TEST(World, ATaskThatNeverWaitsIsALivelock) {
    World world(3);
    world.add_node("a").start([](Env&) { return spin(); });
    EXPECT_FALSE(world.run_for(1_s));
    EXPECT_NE(world.failure().find("livelock"), std::string::npos);
}

Task<void> log_one(Env* env, std::string event) {
    log_error(env->log, event, "text");
    co_return;
}
TEST(World, AnErrorInTheLogFailsTheRunUnlessExpected) {
    World world(4);
    world.expect_error("planned");
    auto& a = world.add_node("a");
    a.start(boot_idle);
    EXPECT_TRUE(world.run(a, log_one(&a.env(), "planned")));
    EXPECT_FALSE(world.failed());
    world.run(a, log_one(&a.env(), "surprise"));
    EXPECT_TRUE(world.failed());
    EXPECT_NE(world.failure().find("surprise"), std::string::npos);
}

Task<void> count_turns(Env* env, u64* turns) {
    while (true) {
        ++*turns;
        co_await env->clock.sleep(1_ms);
    }
}
TEST(Node, CrashesAfterTheGivenResumption) {
    for (u64 n = 1; n < 20; ++n) {
        World world(5);
        u64 turns = 0;
        auto& a = world.add_node("a");
        a.start([&](Env& env) { return count_turns(&env, &turns); });
        a.crash_after_resumptions(n);
        world.run_for(1_s);
        EXPECT_FALSE(a.is_up());
        EXPECT_EQ(turns, n);
    }
}

Task<void> crashes_itself(Node* node, Env* env, int* steps) {
    ++*steps;
    node->crash();
    ++*steps;  // it runs on to its next await
    co_await env->clock.sleep(1_ms);
    ++*steps;
}
TEST(Node, AProgramThatCrashesItselfEndsAtItsNextAwait) {
    World world(6);
    int steps = 0;
    auto& a = world.add_node("a");
    a.start([&](Env& env) { return crashes_itself(&a, &env, &steps); });
    world.run_for(1_s);
    EXPECT_EQ(steps, 2);
    EXPECT_FALSE(a.is_up());
}

TEST(Node, APauseStopsTurnsAndTimersAndNothingElse) {
    World world(7);
    u64 turns = 0;
    auto& a = world.add_node("a");
    a.start([&](Env& env) { return count_turns(&env, &turns); });
    world.run_for(100_ms);
    a.pause();
    u64 const at_pause = turns;
    Instant const before = a.env().clock.now();
    world.run_for(5_s);
    EXPECT_EQ(turns, at_pause);
    EXPECT_GT((a.env().clock.now() - before).ns, Duration(4_s).ns) << "the machine's clock goes on";
    a.resume();
    world.run_for(100_ms);
    EXPECT_GT(turns, at_pause + 50);
    a.pause(true);
    Instant const stopped = a.env().clock.now();
    world.run_for(5_s);
    EXPECT_EQ(a.env().clock.now(), stopped);
    a.resume();
    world.run_for(100_ms);
    EXPECT_LT((a.env().clock.now() - stopped).ns, Duration(200_ms).ns);
}

struct WritesWhenDestroyed {
    Connection* connection;
    ~WritesWhenDestroyed() { static_cast<void>(connection->write(Buffer::zeroed(1))); }
};
Task<void> bad_destructor(Env* env) {
    auto const connection = co_await env->network.connect(Address::tcp("a", 7));
    WritesWhenDestroyed const bad{connection->get()};
    co_await env->clock.sleep(10_s);
}
TEST(NodeDeathTest, IoInADestructorIsCaughtWhenTheNodeCrashes) {
    EXPECT_DEATH(
        {
            World world(8);
            auto& a = world.add_node("a");
            a.start(boots_echo(Address::tcp("a", 7)));
            a.spawn(bad_destructor(&a.env()));
            world.run_for(1_s);
            a.crash();
        },
        "a destructor does I/O");
}

}  // namespace
}  // namespace corelet::sim
