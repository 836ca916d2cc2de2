// Nodes that call each other in the simulated world, under crashes, partitions, pauses, resets and half-open
// connections.
#include <gtest/gtest.h>

#include "sim/world.h"
#include "wire/chat_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_nodes = 4;

struct Outcome {
    u64 hash = 0;
    std::array<ChatCounters, k_nodes + 1> counters;
    std::string failure;
    std::array<u64, sim::k_fault_kinds> faults{};
};

ChatSetup setup_of(u64 id) {
    ChatSetup setup;
    setup.id = id;
    setup.pause = 40_ms;
    for (u64 n = 1; n <= k_nodes; ++n) setup.addresses[n] = Address::tcp("n" + std::to_string(n), 7000);
    return setup;
}

void do_harm(sim::World& world, Prng& random) {
    u32 const node = static_cast<u32>(random.below(k_nodes)), other = static_cast<u32>(random.below(k_nodes));
    switch (random.below(7)) {
        case 0:
            world.node(node).crash(random.chance(1, 2) ? sim::Ending::kKill : sim::Ending::kPower);
            break;
        case 1:
            world.node(node).crash_after_resumptions(1 + random.below(500));
            break;
        case 2:
            world.isolate(node);
            break;
        case 3:
            if (node != other) world.partition_one_way({node}, {other});
            break;
        case 4:
            world.node(node).pause(random.chance(1, 2));
            break;
        default:
            world.fabric().reset_random_stream(random, random.chance(1, 2));
            break;
    }
}

void mend(sim::World& world) {
    world.heal_network();
    for (u32 n = 0; n < k_nodes; ++n) {
        if (!world.node(n).is_up()) world.node(n).restart();
        world.node(n).resume();
    }
}

Outcome run_of_faults(u64 seed, int rounds) {
    Outcome run;
    sim::World world(seed);
    for (u64 id = 1; id <= k_nodes; ++id) {
        ChatCounters* const counters = &run.counters[id];
        auto& node = world.add_node("n" + std::to_string(id));
        node.start([id, counters](Env& env) { return chat(&env, setup_of(id), counters); });
    }
    Prng random = world.fork("harm");
    for (int round = 0; round < rounds && !world.failed(); ++round) {
        (void)world.run_for(Duration{static_cast<i64>(random.below(400'000'000))});
        for (u64 n = 1 + random.below(3); n > 0; --n) do_harm(world, random);
        (void)world.run_for(Duration{static_cast<i64>(random.below(2'000'000'000))});
        mend(world);
    }
    // A crash that was still due happens now.
    (void)world.run_for(1_s);
    mend(world);
    // Silence is noticed after five seconds, a probe takes one more, backing off another.
    (void)world.run_for(10_s);
    for (ChatCounters& counters : run.counters) counters.answered_by.clear();
    (void)world.run_for(5_s);
    run.hash = world.hash();
    run.failure = world.failure();
    return run;
}

TEST(WireSim, AllReachAllAgainAfterEveryFault) {
    u64 answered = 0, failed = 0;
    for (u64 seed = 1; seed <= 8; ++seed) {
        Outcome const run = run_of_faults(seed, 12);
        EXPECT_EQ(run.failure, "") << "seed " << seed;
        for (u64 id = 1; id <= k_nodes; ++id) {
            const ChatCounters& counters = run.counters[id];
            EXPECT_EQ(counters.wrong, 0U) << "seed " << seed << ", node " << id;
            EXPECT_EQ(counters.answered_by.size(), k_nodes) << "seed " << seed << ", node " << id;
            answered += counters.answered;
            failed += counters.failed;
        }
    }
    EXPECT_GT(answered, 10'000U);
    EXPECT_GT(failed, 500U);
}

TEST(WireSim, CallsEndAtTheirDeadlineWhateverTheNetworkDoes) {
    for (u64 seed = 1; seed <= 3; ++seed) {
        sim::World world(seed);
        std::array<ChatCounters, k_nodes + 1> counters;
        for (u64 id = 1; id <= k_nodes; ++id) {
            auto& node = world.add_node("n" + std::to_string(id));
            node.start([id, c = &counters[id]](Env& env) { return chat(&env, setup_of(id), c); });
        }
        Prng random = world.fork("harm");
        for (int round = 0; round < 20; ++round) {
            (void)world.run_for(Duration{static_cast<i64>(random.below(1'000'000'000))});
            if (random.chance(1, 2)) {
                world.isolate(static_cast<u32>(random.below(k_nodes)));
            } else {
                world.heal_network();
            }
        }
        for (const ChatCounters& one : counters) EXPECT_EQ(one.late, 0U) << "seed " << seed;
        EXPECT_EQ(world.failure(), "");
    }
}

TEST(WireSim, TheSameSeedGivesTheSameRun) {
    EXPECT_EQ(run_of_faults(7, 3).hash, run_of_faults(7, 3).hash);
    EXPECT_NE(run_of_faults(7, 3).hash, run_of_faults(8, 3).hash);
}

}  // namespace
}  // namespace corelet
