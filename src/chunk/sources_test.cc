// Whom a healer reads from: not slow ones where others do, and of those that are as good the least loaded.
#include "chunk/chunk_testing.h"
#include "rt/combine.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr ChunkId k_read_chunk{SpaceId(5), 9};
constexpr u64 k_chunk_blocks = 64;

Task<usize> read_many(MeshChunks* chunks, CoreletId except, u8 position, usize count) {
    std::vector<Task<Result<MeshChunks::Piece>>> reads;
    for (usize i = 0; i < count; ++i) {
        MeshChunks::Wanted const wanted{
            k_pool, k_read_chunk, 0, k_chunk_blocks / 4 * k_block_bytes, TrafficClass::kHeal, except};
        reads.push_back(chunks->read_piece(wanted, position, {}));
    }
    usize good = 0;
    for (auto const& piece : co_await join_all<Result<MeshChunks::Piece>>(std::move(reads))) good += piece ? 1 : 0;
    co_return good;
}

struct SourceWorld : ChunkWorld {
    SourceWorld() : ChunkWorld(77, 7, "ec:4+2") {
        EXPECT_TRUE(put(0, k_read_chunk, bytes(1, k_chunk_blocks)).has_value());
        for (usize i = 0; i < 7; ++i)
            if (home_positions(i) == 0) reader = i;
    }
    [[nodiscard]] usize home_positions(usize index) {
        usize held = 0;
        for (u8 p = 0; p < 6; ++p) held += home(k_read_chunk, p) == id(index) ? 1 : 0;
        return held;
    }
    [[nodiscard]] u64 reads_at(u8 position) { return at(home(k_read_chunk, position)).fragments->heal_reads(); }
    // Decodes position 0 so often at once, by who has none, and not from its holder.
    void rebuild(usize count) {
        EXPECT_EQ(run(reader, read_many(at(reader).chunks.get(), home(k_read_chunk, 0), 0, count)), count);
    }
    usize reader = 0;
};

TEST(Sources, TheLeastLoadedIsAsked) {
    SourceWorld world;
    world.rebuild(20);
    u64 least = ~u64{0}, most = 0;
    for (u8 p = 1; p < 6; ++p) {
        least = std::min(least, world.reads_at(p));
        most = std::max(most, world.reads_at(p));
    }
    EXPECT_GE(least, 8U) << "80 reads over five; by position alone the last one would have none";
    EXPECT_LE(most, 20U);
}

TEST(Sources, SlowDevicesAreGoneRound) {
    SourceWorld world;
    world.at(world.reader).chunks->set_slow({world.home(k_read_chunk, 2)});
    world.rebuild(20);
    EXPECT_EQ(world.reads_at(2), 0U);
    EXPECT_EQ(world.reads_at(5), 20U);
}

TEST(Sources, WhoseClientsSufferSaysSoAndIsSpared) {
    SourceWorld world;
    std::map<CoreletId, u32> told;
    world.at(world.reader).chunks->on_strain([&](CoreletId source, u32 permille) { told[source] = permille; });
    world.at(world.home(k_read_chunk, 3)).fragments->set_strain(4000);
    world.at(world.home(k_read_chunk, 1)).fragments->set_strain(1000);
    world.rebuild(1);
    EXPECT_EQ(told[world.home(k_read_chunk, 3)], 4000U);
    EXPECT_EQ(told[world.home(k_read_chunk, 1)], 1000U);
    EXPECT_FALSE(told.contains(world.home(k_read_chunk, 2))) << "it has no clients";
    u64 const before = world.reads_at(3);
    world.rebuild(4);
    EXPECT_EQ(world.reads_at(3), before) << "the others have less to do";
    world.at(world.reader).chunks->on_strain({});
}

}  // namespace
}  // namespace corelet
