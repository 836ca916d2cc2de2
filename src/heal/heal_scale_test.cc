// Rebuilding spreads over all corelets: what one held is made again by all others at once, so twice the corelets
// take nearly half the time.
#include "heal/heal_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr u64 k_rate = 32 * k_kib;
constexpr u64 k_fragment = 8 * k_kib;

// Chunks that all have a fragment at the last corelet: so much is lost with it, whatever the mesh's size.
u64 fill_for(HealWorld& world, usize victim, u64 lost) {
    u64 seq = 0;
    for (u64 found = 0; found < lost;) {
        ChunkId const chunk = HealWorld::chunk(++seq);
        u32 const slot = world.chunks.slot(chunk);
        if (!world.chunks.pool().current().position_of(slot, ChunkWorld::id(victim))) continue;
        ++found;
        for (u8 p = 0; p < 6; ++p) {
            CoreletId const home = world.chunks.home(chunk, p);
            // What the last one has nobody reads any more, and its device would not hold it all.
            if (home == ChunkWorld::id(victim)) continue;
            world.chunks.plant(home.v - 1, {chunk, p}, {4, 2}, 4 * k_fragment, Buffer::zeroed(k_fragment));
        }
    }
    return seq;
}

// How long it takes, each corelet rebuilding at one and the same rate.
Duration rebuild_time(usize corelets, u64 lost) {
    Healer::Options options;
    options.bytes_per_second = k_rate;
    options.scrub_bytes_per_second = 0;
    HealWorld world(50, corelets, "ec:4+2", options);
    usize const victim = corelets - 1;
    for (usize i = 0; i < corelets; ++i) world.healer(i).pause(true);
    (void)fill_for(world, victim, lost);
    world.out(victim);
    auto const began = world.chunks.world().now();
    for (usize i = 0; i < victim; ++i) world.healer(i).pause(false);
    auto const rebuilt = [&] {
        u64 fragments = 0;
        for (usize i = 0; i < victim; ++i) fragments += world.status(i).fragments_rebuilt;
        return fragments;
    };
    while (rebuilt() < lost && world.chunks.world().now() - began < 600_s) world.chunks.pass(50_ms);
    EXPECT_GE(rebuilt(), lost);
    return world.chunks.world().now() - began;
}

// `percent`: of the time that half as many take, at most.
struct Step {
    usize corelets;
    i64 percent;
};
void expect_halves(const std::vector<Step>& steps, u64 lost) {
    Duration before{};
    for (auto const [corelets, percent] : steps) {
        Duration const took = rebuild_time(corelets, lost);
        u64 const alone = lost * k_fragment / k_rate;
        std::printf("%4zu corelets: %7lld ms, %.1f times as fast as one\n", corelets,
                    static_cast<long long>(took.ms()),
                    static_cast<double>(alone) * 1000 / static_cast<double>(took.ms()));
        if (before.ns != 0) EXPECT_LE(took.ms() * 100, before.ms() * percent) << corelets;
        before = took;
    }
}

TEST(SlowHealingScale, TwiceTheCoreletsTakeNearlyHalfTheTime) {
    expect_halves({{8, 0}, {16, 62}, {32, 62}, {64, 62}}, 2048);
}

// More is lost here, some dozens of fragments for each that makes them again: else it is chance that decides who is
// done last. Eight of these devices would not hold so much. Of 255 each takes over three slots of what one had, and
// a few take four: they are done last, a third after the others, so the last step gains less.
TEST(SlowHealingScale, AlsoWhereThereAreHundreds) {
    expect_halves({{64, 0}, {128, 62}, {256, 75}}, 8192);
}

}  // namespace
}  // namespace corelet
