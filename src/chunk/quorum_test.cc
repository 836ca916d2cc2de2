// Pools with quorums: puts that go on behind, reads that race, ranges that are decoded alone.
#include "chunk/chunk_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr ChunkId k_behind{SpaceId(7), 100};

mesh::PoolSpec quorums(u8 write, u8 read = 0) {
    mesh::PoolSpec spec;
    spec.write_quorum = write;
    spec.read_quorum = read;
    return spec;
}

mesh::Map without_member(mesh::Map map, CoreletId id) {
    for (mesh::Corelet& corelet : map.corelets)
        if (corelet.id == id) corelet.presence = mesh::Presence::kDown;
    map.epoch = map.epoch.next();
    return map;
}

using PutEnd = std::shared_ptr<std::optional<Result<ChunkPutResult>>>;
Task<void> put_beside(MeshChunks* chunks, ChunkId chunk, Buffer bytes, PutEnd out) {
    auto crcs = block_crcs(BufferChain(bytes));
    out->emplace(co_await chunks->put(k_pool, chunk, BufferChain(bytes), std::move(crcs), ChunkPutOptions{}));
}
Task<void> settle_beside(MeshChunks* chunks, std::shared_ptr<bool> done) {
    co_await chunks->settle(k_behind.space);
    *done = true;
}

// One of six hangs: five answer, which is the quorum. What is missing is counted until it is there.
TEST(WriteQuorum, IsAnsweredAtOnceAndTheRestIsPutBehind) {
    ChunkWorld world(21, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    CoreletId const hung = world.home(k_behind, 3);
    world.world().isolate(static_cast<u32>(hung.v - 1));
    Buffer const data = ChunkWorld::bytes(1, 32);
    auto const began = world.world().now();
    auto const put = world.put(writer, k_behind, data);
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_LT((world.world().now() - began).ms(), 500);
    EXPECT_EQ(put->fragments_durable, 5U);
    EXPECT_FALSE(put->complete);
    EXPECT_TRUE(put->is_enough());
    const MeshChunks& chunks = *world.at(writer).chunks;
    auto rows = chunks.behind(10);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].holders.size(), 5U) << "one loss is survived, not two";
    EXPECT_FALSE(std::ranges::count(rows[0].holders, hung));
    EXPECT_TRUE(chunks.has_tail(k_behind));
    auto const settled = std::make_shared<bool>(false);
    world.machine(writer).spawn(settle_beside(world.at(writer).chunks.get(), settled));
    world.pass(3_s);
    EXPECT_FALSE(*settled) << "a checkpoint waits";
    EXPECT_FALSE(world.holds(hung.v - 1, k_behind, 3));
    world.world().heal_network();
    ASSERT_TRUE(world.until([&] { return *settled; }, 10_s));
    EXPECT_TRUE(world.holds(hung.v - 1, k_behind, 3)) << "it was put, not rebuilt: there are no healers here";
    EXPECT_TRUE(chunks.behind(10).empty());
    EXPECT_FALSE(chunks.has_tail(k_behind));
}

TEST(WriteQuorum, NoFewerThanThatAreEnough) {
    ChunkWorld world(22, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    for (u8 p : {u8{3}, u8{4}}) world.world().isolate(static_cast<u32>(world.home(k_behind, p).v - 1));
    PutEnd const end = std::make_shared<std::optional<Result<ChunkPutResult>>>();
    world.machine(writer).spawn(put_beside(world.at(writer).chunks.get(), k_behind, ChunkWorld::bytes(1, 32), end));
    world.pass(9_s);
    EXPECT_FALSE(end->has_value()) << "four of six are durable";
    ASSERT_TRUE(world.until([&] { return end->has_value(); }, 20_s));
    ASSERT_FALSE((*end)->has_value());
    EXPECT_TRUE((*end)->error().is_retryable()) << (*end)->error().to_string();
    EXPECT_TRUE(world.at(writer).chunks->behind(10).empty()) << "nobody refers to it";
}

// What hangs for longer than a checkpoint waits stays counted, and what the map has as down does not.
TEST(WriteQuorum, WhatIsNotMadeGoodStaysCounted) {
    ChunkWorld world(23, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    CoreletId const hung = world.home(k_behind, 3);
    world.world().isolate(static_cast<u32>(hung.v - 1));
    ASSERT_TRUE(world.put(writer, k_behind, ChunkWorld::bytes(1, 32)).has_value());
    const MeshChunks& chunks = *world.at(writer).chunks;
    auto const settled = std::make_shared<bool>(false);
    world.machine(writer).spawn(settle_beside(world.at(writer).chunks.get(), settled));
    ASSERT_TRUE(world.until([&] { return *settled; }, 12_s)) << "not for ever";
    EXPECT_EQ(chunks.behind(10).size(), 1U);
    world.pass(10_s);
    EXPECT_FALSE(chunks.has_tail(k_behind)) << "nothing more is put from here";
    ASSERT_EQ(chunks.behind(10).size(), 1U);
    EXPECT_EQ(chunks.behind(10)[0].holders.size(), 5U);
    world.set_map(without_member(world.map(), hung));
    EXPECT_TRUE(world.until([&] { return chunks.behind(10).empty(); }, 5_s));
}

// A writer that gives a put up, as a large write does that takes too long, leaves nothing running and nothing
// counted.
TEST(WriteQuorum, APutThatIsGivenUpEnds) {
    ChunkWorld world(24, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    for (u8 p : {u8{3}, u8{4}}) world.world().isolate(static_cast<u32>(world.home(k_behind, p).v - 1));
    Buffer const data = ChunkWorld::bytes(1, 32);
    MeshChunks& chunks = *world.at(writer).chunks;
    auto const put = world.run(
        writer, with_timeout<ChunkPutResult>(world.at(writer).env.clock, 1_s,
                                             chunks.put(k_pool, k_behind, BufferChain(data),
                                                        block_crcs(BufferChain(data)), ChunkPutOptions{})));
    ASSERT_FALSE(put.has_value());
    EXPECT_EQ(put.error().code, Code::kTimeout);
    world.pass(8_s);
    world.world().heal_network();
    world.pass(10_s);
    usize held = 0;
    for (u8 p = 0; p < 6; ++p) held += world.holds(world.home(k_behind, p).v - 1, k_behind, p) ? 1U : 0U;
    EXPECT_EQ(held, 4U) << "nobody puts what nobody waits for";
    EXPECT_TRUE(chunks.behind(10).empty());
}

TEST(WriteQuorum, BeyondItsBoundsAPutWaitsForEverybody) {
    MeshChunks::Options options;
    options.behind_bytes_max = 100 * k_kib;
    ChunkWorld world(25, 7, "ec:4+2", {}, options, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    world.world().isolate(static_cast<u32>(world.home(k_behind, 3).v - 1));
    PutEnd const end = std::make_shared<std::optional<Result<ChunkPutResult>>>();
    world.machine(writer).spawn(put_beside(world.at(writer).chunks.get(), k_behind, ChunkWorld::bytes(1, 32), end));
    world.pass(4_s);
    EXPECT_FALSE(end->has_value());
    ASSERT_TRUE(world.until([&] { return end->has_value(); }, 20_s));
    EXPECT_TRUE((*end)->has_value()) << "its patience over, the quorum is there";
}

// A former owner's chunk: who has it is found by asking.
TEST(WriteQuorum, WhatAFormerOwnerPutIsLookedAfter) {
    ChunkWorld world(26, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1, next = world.home(k_behind, 1).v - 1;
    CoreletId const hung = world.home(k_behind, 3);
    world.world().isolate(static_cast<u32>(hung.v - 1));
    Buffer const data = ChunkWorld::bytes(1, 32);
    ASSERT_TRUE(world.put(writer, k_behind, data).has_value());
    world.crash(writer);
    world.at(next).chunks->watch(k_pool, k_behind);
    EXPECT_EQ(world.at(next).chunks->behind(10).at(0).holders.size(), 5U) << "the worst that a put may leave";
    world.pass(3_s);
    auto const rows = world.at(next).chunks->behind(10);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].holders.size(), 4U) << "without the owner that died and the one that hangs";
    EXPECT_FALSE(world.at(next).chunks->has_tail(k_behind)) << "it may be healed";
    auto const got = world.get(next, k_behind, data, 0, data.size());
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_TRUE(same_bytes(*got, data));
}

// One that is full is not waited for; that it lacks its fragment is known all the same.
TEST(WriteQuorum, WhoRefusesItIsCountedAsWell) {
    ChunkWorld world(28, 7, "ec:4+2", {}, {}, quorums(5));
    usize const writer = world.home(k_behind, 0).v - 1;
    CoreletId const failing = world.home(k_behind, 3);
    world.machine(failing.v - 1).media().find("/device")->faults.fail_writes = 1;
    auto const put = world.put(writer, k_behind, ChunkWorld::bytes(1, 32));
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_TRUE(put->is_enough());
    world.pass(2_s);
    auto const rows = world.at(writer).chunks->behind(10);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].holders.size(), 5U);
    EXPECT_FALSE(std::ranges::count(rows[0].holders, failing));
}

// By default nothing of it is in the way.
TEST(WriteQuorum, WithoutOneNothingIsBehind) {
    ChunkWorld world(27, 7, "ec:4+2");
    ASSERT_TRUE(world.put(0, k_behind, ChunkWorld::bytes(1, 32)).has_value());
    world.at(0).chunks->watch(k_pool, k_behind);
    EXPECT_TRUE(world.at(0).chunks->behind(10).empty());
    auto const settled = std::make_shared<bool>(false);
    world.machine(0).spawn(settle_beside(world.at(0).chunks.get(), settled));
    EXPECT_TRUE(world.until([&] { return *settled; }, 10_ms));
}

// --- reads
// ------------------------------------------------------------------------------------------------------------

// Bytes of fragments that all corelets together have sent out on reads.
u64 bytes_read(ChunkWorld& world, usize corelets) {
    u64 sum = 0;
    for (usize i = 0; i < corelets; ++i)
        if (world.machine(i).is_up()) sum += world.at(i).fragments->bytes_read();
    return sum;
}

// A range whose fragment is lost costs k times its bytes, whatever the size of the chunk.
TEST(DegradedReads, OnlyTheRangeThatIsAskedForIsDecoded) {
    ChunkWorld world(31, 14, "ec:10+4");
    Buffer const data = ChunkWorld::bytes(5, 1000);
    ASSERT_TRUE(world.put(0, k_behind, data).has_value());
    usize const reader = world.home(k_behind, 13).v - 1;
    u64 before = bytes_read(world, 14);
    ASSERT_TRUE(world.get(reader, k_behind, data, 8 * k_block_bytes, 2 * k_block_bytes).has_value());
    EXPECT_EQ(bytes_read(world, 14) - before, 2 * k_block_bytes) << "whole, it is one fragment's range";
    CoreletId const lost = world.home(k_behind, 0);
    world.crash(lost.v - 1);
    world.set_map(without_member(world.map(), lost));
    for (u64 const blocks : {1U, 4U, 16U}) {
        before = bytes_read(world, 14);
        auto const got = world.get(reader, k_behind, data, 8 * k_block_bytes, blocks * k_block_bytes);
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data.slice(8 * k_block_bytes, blocks * k_block_bytes)));
        EXPECT_EQ(bytes_read(world, 14) - before, 10 * blocks * k_block_bytes)
            << "ten of a hundred blocks each, not the chunk's thousand";
    }
    // Beside the lost fragment nothing is decoded.
    before = bytes_read(world, 14);
    ASSERT_TRUE(world.get(reader, k_behind, data, 200 * k_block_bytes, k_block_bytes).has_value());
    EXPECT_EQ(bytes_read(world, 14) - before, k_block_bytes);
}

// With a read quorum above k that many race, and one that is slow does not count.
TEST(ReadQuorum, SoManyAreAskedAtOnce) {
    for (u8 const quorum : {u8{0}, u8{12}}) {
        ChunkWorld world(32, 14, "ec:10+4", {}, {}, quorums(0, quorum));
        Buffer const data = ChunkWorld::bytes(5, 40);
        ASSERT_TRUE(world.put(0, k_behind, data).has_value());
        CoreletId const lost = world.home(k_behind, 0);
        usize const reader = world.home(k_behind, 13).v - 1;
        world.crash(lost.v - 1);
        world.set_map(without_member(world.map(), lost));
        for (u8 p : {u8{2}, u8{3}})
            world.world().fabric().set_delay(static_cast<u32>(world.home(k_behind, p).v - 1),
                                             static_cast<u32>(reader), 15_ms);
        auto const began = world.world().now();
        auto const got = world.get(reader, k_behind, data, 0, k_block_bytes);
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data.slice(0, k_block_bytes)));
        bool const waited = (world.world().now() - began) >= 15_ms;
        EXPECT_EQ(waited, quorum == 0) << "read quorum " << int{quorum};
    }
}

}  // namespace
}  // namespace corelet
