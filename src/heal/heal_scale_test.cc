// Rebuilding spreads over all corelets: what one held is made again by all others at once, so twice the corelets
// take nearly half the time.
#include "heal/heal_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_lost = 2048;  // fragments
constexpr u64 k_rate = 32 * k_kib;
constexpr u64 k_fragment = 8 * k_kib;

// Chunks that all have a fragment at the last corelet: so much is lost with it, whatever the mesh's size.
u64 fill_for(HealWorld& world, usize victim) {
    u64 seq = 0;
    for (u64 found = 0; found < k_lost;) {
        ChunkId const chunk = HealWorld::chunk(++seq);
        u32 const slot = world.chunks.slot(chunk);
        if (!world.chunks.pool().current().position_of(slot, ChunkWorld::id(victim))) continue;
        ++found;
        for (u8 p = 0; p < 6; ++p)
            world.chunks.plant(world.chunks.home(chunk, p).v - 1, {chunk, p}, {4, 2}, 4 * k_fragment,
                               Buffer::zeroed(k_fragment));
    }
    return seq;
}

// How long it takes, each corelet rebuilding at one and the same rate.
Duration rebuild_time(usize corelets) {
    Healer::Options options;
    options.bytes_per_second = k_rate;
    options.scrub_bytes_per_second = 0;
    HealWorld world(50, corelets, "ec:4+2", options);
    usize const victim = corelets - 1;
    for (usize i = 0; i < corelets; ++i) world.healer(i).pause(true);
    (void)fill_for(world, victim);
    world.out(victim);
    auto const began = world.chunks.world().now();
    for (usize i = 0; i < victim; ++i) world.healer(i).pause(false);
    auto const rebuilt = [&] {
        u64 fragments = 0;
        for (usize i = 0; i < victim; ++i) fragments += world.status(i).fragments_rebuilt;
        return fragments;
    };
    while (rebuilt() < k_lost && world.chunks.world().now() - began < 600_s) world.chunks.pass(50_ms);
    EXPECT_GE(rebuilt(), k_lost);
    return world.chunks.world().now() - began;
}

TEST(SlowHealingScale, TwiceTheCoreletsTakeNearlyHalfTheTime) {
    Duration before{};
    for (usize const corelets : {8, 16, 32, 64}) {
        Duration const took = rebuild_time(corelets);
        u64 const alone = k_lost * k_fragment / k_rate;
        std::printf("%4zu corelets: %7lld ms, %.1f times as fast as one\n", corelets,
                    static_cast<long long>(took.ms()),
                    static_cast<double>(alone) * 1000 / static_cast<double>(took.ms()));
        if (before.ns != 0) EXPECT_LE(took.ms() * 100, before.ms() * 62) << corelets;
        before = took;
    }
}

}  // namespace
}  // namespace corelet
