// A corelet whose device has no room for what its places ask for.
#include "heal/heal_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr usize k_full = 2;

struct FullWorld : HealWorld {
    FullWorld() : HealWorld(31, 6, "ec:2+1", quiet()) { put_some(40); }
    static Healer::Options quiet() {
        Healer::Options options;
        options.scrub_bytes_per_second = 0;
        options.round_every = 2_s;
        return options;
    }
    // All the room that healing could take is somebody else's, and what it had is gone.
    void fill() {
        Store& store = *chunks.at(k_full).store;
        SpaceUse const space = store.space();
        u64 const free = space.capacity_bytes - space.used_bytes - space.reserved_bytes;
        auto taken = store.reserve(free - space.system_reserve_bytes / 2, SpaceClass::kPacking);
        ASSERT_TRUE(taken.has_value()) << taken.error().to_string();
        taken_ = std::make_unique<Reservation>(*std::move(taken));
    }
    void make_room() { taken_.reset(); }
    u64 lose_all() {
        u64 lost = 0;
        for (u64 seq = 1; seq <= 40; ++seq)
            for (u8 p = 0; p < 3; ++p) {
                if (!chunks.holds(k_full, chunk(seq), p)) continue;
                EXPECT_TRUE(chunks.run(k_full, chunks.at(k_full).store->remove_fragment({chunk(seq), p})));
                ++lost;
            }
        return lost;
    }
    [[nodiscard]] u64 read_for_healing() {
        u64 bytes = 0;
        for (usize i = 0; i < 6; ++i)
            bytes += chunks.at(i).store->telemetry().reads[static_cast<usize>(IoClass::kHeal)].bytes;
        return bytes;
    }
    std::unique_ptr<Reservation> taken_;
};

TEST(FullDevice, IsTriedEverMoreRarelySaysSoAndGoesOnWhenThereIsRoom) {
    FullWorld world;
    u64 const lost = world.lose_all();
    ASSERT_GT(lost, 10U);
    world.fill();
    world.healer(k_full).wake();
    ASSERT_TRUE(world.chunks.until([&] { return world.status(k_full).full; }, 30_s));
    EXPECT_FALSE(world.status(k_full == 0 ? 1 : 0).full);
    u64 const before = world.read_for_healing();
    world.chunks.pass(600_s);
    u64 const read = world.read_for_healing() - before;
    // Four at once, of two blocks each from two others, a try; some fifteen tries: not six hundred.
    EXPECT_LE(read, 20U * 4 * 2 * 4 * k_block_bytes) << read;
    EXPECT_GT(read, 0U) << "but it is tried";
    EXPECT_EQ(world.status(k_full).fragments_missing, lost) << "and nothing of it is forgotten";
    EXPECT_TRUE(world.status(k_full).full);
    world.make_room();
    EXPECT_TRUE(world.settles(40, 10_s)) << "at once: " << world.what_is_wrong(40);
    EXPECT_TRUE(world.chunks.until([&] { return !world.status(k_full).full; }, 10_s));
}

}  // namespace
}  // namespace corelet
