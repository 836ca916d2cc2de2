// Chunks over several stores in the simulated world: puts under changing maps, reads past the dead, the slow and
// the rotten.
#include "chunk/chunk_testing.h"

namespace corelet {
namespace {

using namespace corelet::testing;

constexpr ChunkId k_chunk{SpaceId(7), 100};

mesh::Map with_state(mesh::Map map, CoreletId id, mesh::Presence presence) {
    for (mesh::Corelet& corelet : map.corelets)
        if (corelet.id == id) corelet.presence = presence;
    map.epoch = map.epoch.next();
    return map;
}

class AnyPool : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Redundancies, AnyPool, ::testing::Values("rep:3", "ec:2+1", "ec:4+2"));

TEST_P(AnyPool, WhatIsPutIsRead) {
    ChunkWorld world(1, 6, GetParam());
    auto const redundancy = world.pool().spec.redundancy;
    Buffer const data = ChunkWorld::bytes(3, 37);
    auto const put = world.put(0, k_chunk, data);
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_TRUE(put->complete);
    EXPECT_EQ(put->fragments_durable, redundancy.width());
    for (u8 p = 0; p < redundancy.width(); ++p)
        EXPECT_TRUE(world.holds(world.home(k_chunk, p).v - 1, k_chunk, p)) << int{p};
    for (auto const [first, blocks] : {std::pair{0U, 37U}, {5U, 1U}, {8U, 4U}, {36U, 1U}, {17U, 20U}})
        for (bool const with_crcs : {true, false}) {
            auto const got = world.get(5, k_chunk, data, first * k_block_bytes, blocks * k_block_bytes, with_crcs);
            ASSERT_TRUE(got.has_value()) << got.error().to_string();
            EXPECT_TRUE(same_bytes(*got, data.slice(first * k_block_bytes, blocks * k_block_bytes)));
        }
}

TEST_P(AnyPool, AsManyMayDieAsPromised) {
    ChunkWorld world(2, 6, GetParam());
    auto const redundancy = world.pool().spec.redundancy;
    Buffer const data = ChunkWorld::bytes(4, 24);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    for (u8 p = 0; p < redundancy.m; ++p) world.crash(world.home(k_chunk, p).v - 1);
    usize reader = 0;
    while (!world.machine(reader).is_up()) ++reader;
    auto const got = world.get(reader, k_chunk, data, 0, data.size());
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_TRUE(same_bytes(*got, data));
}

// "Lost" is said only when everybody who could have it and is not given up has denied it (protocols 9.4).
TEST(ChunkReads, TooFewIsALossOnlyWhenTheSilentAreGivenUp) {
    ChunkWorld world(3, 4, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(4, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    usize reader = 0;
    while (world.pool().current().position_of(world.slot(k_chunk), ChunkWorld::id(reader)).value_or(9) < 2)
        ++reader;
    CoreletId const first = world.home(k_chunk, 0), second = world.home(k_chunk, 1);
    world.crash(first.v - 1);
    world.crash(second.v - 1);
    auto got = world.get(reader, k_chunk, data, 0, k_block_bytes);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kUnavailable) << got.error().to_string();
    world.set_map(with_state(world.map(), first, mesh::Presence::kDown));
    world.set_map(with_state(world.map(), second, mesh::Presence::kOut));
    got = world.get(reader, k_chunk, data, 0, k_block_bytes);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kUnavailable) << "one is only down: " << got.error().to_string();
    world.set_map(with_state(world.map(), first, mesh::Presence::kOut));
    got = world.get(reader, k_chunk, data, 0, k_block_bytes);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kUnknown) << got.error().to_string();
    EXPECT_NE(got.error().message.find(to_string(second)), std::string::npos)
        << "who is given up is named: " << got.error().message;
}

// The map may be wrong about who is down; whoever answers is heard when nobody else has it.
TEST(ChunkReads, OneThatTheMapHasAsDownIsAskedLast) {
    ChunkWorld world(4, 3, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(4, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    usize const reader = world.home(k_chunk, 2).v - 1;
    world.set_map(with_state(world.map(), world.home(k_chunk, 0), mesh::Presence::kDown));
    world.set_map(with_state(world.map(), world.home(k_chunk, 1), mesh::Presence::kDown));
    auto const got = world.get(reader, k_chunk, data, 0, data.size());
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_TRUE(same_bytes(*got, data));
}

// Fragments that no table leads to any more are found by asking everybody (protocols 9.3).
TEST(ChunkReads, StraysAreFound) {
    ChunkWorld world(5, 8, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(6, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    auto const row = world.pool().current().row(world.slot(k_chunk));
    std::vector<usize> strangers;
    for (usize i = 0; i < 8; ++i)
        if (std::find(row.begin(), row.end(), ChunkWorld::id(i)) == row.end()) strangers.push_back(i);
    for (u8 p = 0; p < 3; ++p) world.smuggle(row[p].v - 1, strangers[p], FragmentId{k_chunk, p});
    auto const got = world.get(0, k_chunk, data, 0, data.size());
    ASSERT_TRUE(got.has_value()) << got.error().to_string();
    EXPECT_TRUE(same_bytes(*got, data));
}

TEST(ChunkReads, ARottenFragmentIsReadAroundAndReported) {
    std::vector<FragmentId> damaged;
    ChunkWorld world(6, 4, "ec:2+1", [&](Holder& holder) {
        holder.fragments->on_damaged([&](FragmentId id, IoClass) { damaged.push_back(id); });
        return nullptr;
    });
    Buffer const data = ChunkWorld::bytes(6, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    usize const holder = world.home(k_chunk, 0).v - 1;
    world.rot_fragment(holder, FragmentId{k_chunk, 0}, 1);
    for (bool const with_crcs : {true, false}) {
        damaged.clear();
        auto const got = world.get((holder + 1) % 4, k_chunk, data, k_block_bytes, k_block_bytes, with_crcs);
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data.slice(k_block_bytes, k_block_bytes)));
        EXPECT_TRUE(world.until([&] { return !damaged.empty(); }, 5_s))
            << (with_crcs ? "the reader found it" : "the holder found it");
        EXPECT_EQ(damaged.front(), (FragmentId{k_chunk, 0}));
    }
    // What does not verify against the reader's word alone is no damage of the holder's.
    damaged.clear();
    Buffer const other = ChunkWorld::bytes(99, 8);
    EXPECT_EQ(world.get((holder + 1) % 4, k_chunk, other, 7 * k_block_bytes, k_block_bytes).error().code,
              Code::kCorrupt);
    world.pass(5_s);
    EXPECT_TRUE(damaged.empty());
}

TEST(ChunkReads, MoreRottenThanParityIsCorruptNotServed) {
    ChunkWorld world(7, 3, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(6, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    for (u8 p : {u8{0}, u8{2}}) world.rot_fragment(world.home(k_chunk, p).v - 1, FragmentId{k_chunk, p}, 0);
    auto const got = world.get(0, k_chunk, data, 0, k_block_bytes);
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().code, Code::kCorrupt) << got.error().to_string();
}

// A stopped process answers nothing and refuses nothing. One read finds out, the others do not wait for it.
TEST(ChunkReads, AStoppedHolderCostsOnlyTheFirstReadersTime) {
    ChunkWorld world(8, 6, "ec:4+2");
    Buffer const data = ChunkWorld::bytes(6, 32);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    usize const stopped = world.home(k_chunk, 0).v - 1, reader = world.home(k_chunk, 1).v - 1;
    for (int i = 0; i < 40; ++i) ASSERT_TRUE(world.get(reader, k_chunk, data, 0, k_block_bytes).has_value());
    world.machine(stopped).pause();
    auto const begun = world.world().now();
    for (int i = 0; i < 200; ++i) {
        auto const got = world.get(reader, k_chunk, data, 0, k_block_bytes);
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data.slice(0, k_block_bytes)));
    }
    Duration const spent = world.world().now() - begun;
    EXPECT_LT(spent.ms(), 1'500) << "200 reads, of which the healthy way takes 200 x 0.5 ms";
}

TEST(ChunkReads, OneThatIsSlowIsHedgedWithinTheBudget) {
    ChunkWorld world(9, 6, "ec:4+2");
    Buffer const data = ChunkWorld::bytes(6, 32);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    usize const slow = world.home(k_chunk, 0).v - 1, reader = world.home(k_chunk, 1).v - 1;
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(world.get(reader, k_chunk, data, 0, k_block_bytes).has_value());
    EXPECT_EQ(world.at(reader).chunks->stats().hedged_gets, 0U);
    world.world().fabric().set_delay(static_cast<u32>(slow), static_cast<u32>(reader), 40_ms);
    for (int i = 0; i < 300; ++i) ASSERT_TRUE(world.get(reader, k_chunk, data, 0, k_block_bytes).has_value());
    u64 const hedged = world.at(reader).chunks->stats().hedged_gets;
    EXPECT_GT(hedged, 5U);
    EXPECT_LE(hedged, 16U + 12U) << "what was saved up, and one of twenty-five";
    EXPECT_GE(world.at(reader).chunks->peers().patience(ChunkWorld::id(slow), k_block_bytes), 30_ms)
        << "its slowness is known by now";
}

// --- puts
// ------------------------------------------------------------------------------------------------------------

// Data leave the log only when everybody in service has them, not when just enough have.
TEST(ChunkPuts, WaitsForWhoeverIsInService) {
    ChunkWorld world(10, 6, "ec:4+2");
    usize const writer = world.home(k_chunk, 0).v - 1;
    CoreletId const cut = world.home(k_chunk, 3);
    world.world().isolate(static_cast<u32>(cut.v - 1));
    Buffer const data = ChunkWorld::bytes(1, 32);
    auto result = std::make_shared<std::optional<Result<ChunkPutResult>>>();
    struct Put {
        static Task<void> run(MeshChunks* chunks, Buffer bytes,
                              std::shared_ptr<std::optional<Result<ChunkPutResult>>> out) {
            auto crcs = block_crcs(BufferChain(bytes));
            out->emplace(
                co_await chunks->put(k_pool, k_chunk, BufferChain(bytes), std::move(crcs), ChunkPutOptions{}));
        }
    };
    world.machine(writer).spawn(Put::run(world.at(writer).chunks.get(), data, result));
    world.pass(4_s);
    EXPECT_FALSE(result->has_value()) << "five of six are durable, and the sixth is in service";
    world.set_map(with_state(world.map(), cut, mesh::Presence::kDown));
    ASSERT_TRUE(world.until([&] { return result->has_value(); }, 8_s));
    ASSERT_TRUE((*result)->has_value()) << (*result)->error().to_string();
    EXPECT_EQ((**result)->fragments_durable, 5U);
    EXPECT_FALSE((**result)->complete);
}

TEST(ChunkPuts, OneThatOnlyTheWriterCannotReachDoesNotHoldItUpForEver) {
    ChunkWorld world(11, 6, "ec:4+2");
    usize const writer = world.home(k_chunk, 0).v - 1;
    u32 const cut = static_cast<u32>(world.home(k_chunk, 3).v - 1);
    world.world().partition({static_cast<u32>(writer)}, {cut});
    auto const put = world.put(writer, k_chunk, ChunkWorld::bytes(1, 32));
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_EQ(put->fragments_durable, 5U);
    EXPECT_FALSE(put->complete);
}

TEST(ChunkPuts, WithFewerInServiceThanTheQuorumDataStayInTheLog) {
    ChunkWorld world(12, 6, "ec:4+2");
    world.set_map(with_state(world.map(), world.home(k_chunk, 3), mesh::Presence::kDown));
    EXPECT_TRUE(world.at(0).chunks->can_put(k_pool));
    world.set_map(with_state(world.map(), world.home(k_chunk, 4), mesh::Presence::kDown));
    EXPECT_FALSE(world.at(0).chunks->can_put(k_pool));
    auto const put = world.put(0, k_chunk, ChunkWorld::bytes(1, 32));
    ASSERT_FALSE(put.has_value());
    EXPECT_EQ(put.error().code, Code::kUnavailable);
}

TEST(ChunkPuts, TheSameAgainIsFineOtherBytesAreRefused) {
    ChunkWorld world(13, 4, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(1, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    auto const again = world.put(1, k_chunk, data);
    ASSERT_TRUE(again.has_value());
    EXPECT_TRUE(again->complete);
    auto const other = world.put(1, k_chunk, ChunkWorld::bytes(2, 8));
    ASSERT_FALSE(other.has_value());
    EXPECT_EQ(other.error().code, Code::kExists);
    auto const got = world.get(2, k_chunk, data, 0, data.size());
    ASSERT_TRUE(got.has_value());
    EXPECT_TRUE(same_bytes(*got, data));
}

// The row of the slot changed in a place that is not this member's own: it refuses all the same, for the newcomer
// may have reported the slot clean (protocols 9.1). The writer goes on by the newer table; what is durable already
// stays.
TEST(ChunkPuts, ARowThatChangedIsRefusedByAllOfItAndPutAnew) {
    ChunkWorld world(14, 5, "ec:2+1");
    auto const row = world.pool().current().row(world.slot(k_chunk));
    std::vector<usize> strangers;
    for (usize i = 0; i < 5; ++i)
        if (std::find(row.begin(), row.end(), ChunkWorld::id(i)) == row.end()) strangers.push_back(i);
    usize const writer = strangers[1];
    auto const old_map = world.map_of(writer);
    world.set_map(world.with_row(world.slot(k_chunk), {row[0], row[1], ChunkWorld::id(strangers[0])}));
    world.show_map(writer, old_map);
    auto const crcs = block_crcs(BufferChain(ChunkWorld::bytes(1, 4)));
    for (u8 p = 0; p < 3; ++p) {
        MeshChunks::FragmentPut put{k_pool,
                                    FragmentId{k_chunk, p},
                                    old_map->pools[0].tables[0],
                                    old_map->pools[0].spec.redundancy,
                                    8 * k_block_bytes,
                                    ChunkWorld::bytes(1, 4),
                                    crcs,
                                    TrafficClass::kClient,
                                    SpaceClass::kClient};
        auto const refused = world.run(writer, world.at(writer).chunks->put_fragment(row[p], put));
        ASSERT_FALSE(refused.has_value()) << "position " << int{p};
        EXPECT_EQ(refused.error().code, Code::kStaleMap);
        EXPECT_EQ(refused.error().detail, world.map().epoch.v);
    }
    // A slot whose row is as it was takes puts by the former table.
    ChunkId other = k_chunk;
    while (world.slot(other) == world.slot(k_chunk)) ++other.seq;
    ASSERT_TRUE(world.put(writer, other, ChunkWorld::bytes(2, 8)).has_value());
    // While it is refused the writer hears of the newer map; when it has it, the put goes through.
    world.world().call_in(1_s, [&world, writer, map = world.map_of(0)] { world.show_map(writer, map); });
    Buffer const data = ChunkWorld::bytes(3, 8);
    auto const put = world.put(writer, k_chunk, data);
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_TRUE(put->complete);
    EXPECT_EQ(world.at(writer).maps.heard, world.map().epoch);
    EXPECT_TRUE(world.holds(strangers[0], k_chunk, 2));
    EXPECT_FALSE(world.holds(row[2].v - 1, k_chunk, 2));
}

// A server with an older map than the writer's hears of the newer one, and takes nothing by a table that it does
// not know.
TEST(ChunkPuts, AServerBehindTheWriterIsWaitedFor) {
    ChunkWorld world(15, 5, "ec:2+1");
    auto const row = world.pool().current().row(world.slot(k_chunk));
    usize const behind = row[0].v - 1;
    auto const old_map = world.map_of(behind);
    world.set_map(world.with_row(world.slot(k_chunk), {row[0], row[2], row[1]}));
    world.show_map(behind, old_map);
    world.world().call_in(2_s, [&world, behind, map = world.map_of(row[1].v - 1)] {
        EXPECT_EQ(world.at(behind).maps.heard, map->epoch);
        EXPECT_FALSE(world.holds(behind, k_chunk, 0));
        world.show_map(behind, map);
    });
    auto const put = world.put(row[1].v - 1, k_chunk, ChunkWorld::bytes(3, 8));
    ASSERT_TRUE(put.has_value()) << put.error().to_string();
    EXPECT_TRUE(put->complete);
    EXPECT_TRUE(world.holds(behind, k_chunk, 0));
}

TEST(ChunkPuts, AFragmentOfAnotherPlaceOrLengthIsInvalid) {
    ChunkWorld world(16, 5, "ec:2+1");
    mesh::TablePtr const table = world.pool().tables.front();
    Buffer const data = ChunkWorld::bytes(1, 4);
    auto const send = [&](u8 position, u64 chunk_bytes) {
        MeshChunks::FragmentPut put{k_pool,
                                    FragmentId{k_chunk, position},
                                    table,
                                    world.pool().spec.redundancy,
                                    chunk_bytes,
                                    data,
                                    block_crcs(BufferChain(data)),
                                    TrafficClass::kClient,
                                    SpaceClass::kClient};
        return world.run(0, world.at(0).chunks->put_fragment(world.home(k_chunk, 1), put));
    };
    EXPECT_EQ(send(0, 8 * k_block_bytes).error().code, Code::kInvalid) << "another's position";
    EXPECT_EQ(send(1, 80 * k_block_bytes).error().code, Code::kInvalid) << "not a fragment of such a chunk";
    EXPECT_TRUE(send(1, 8 * k_block_bytes).has_value());
}

// --- deletes
// ---------------------------------------------------------------------------------------------------------

TEST(ChunkDeletes, OnlyTheOwnerOfTheSpaceMayAsk) {
    ChunkWorld world(17, 4, "ec:2+1");
    Buffer const data = ChunkWorld::bytes(1, 8);
    ASSERT_TRUE(world.put(0, k_chunk, data).has_value());
    auto const remove = [&](usize asker, Epoch epoch) {
        return world.run(asker, world.at(asker).chunks->remove(k_pool, {k_chunk}, epoch));
    };
    EXPECT_EQ(remove(0, Epoch(2)).error().code, Code::kFenced) << "an epoch that is not the owner's";
    EXPECT_EQ(remove(1, Epoch(1)).error().code, Code::kFenced) << "somebody else in its name";
    auto const still = world.get(3, k_chunk, data, 0, data.size());
    ASSERT_TRUE(still.has_value());
    ASSERT_TRUE(remove(0, Epoch(1)).has_value());
    for (u8 p = 0; p < 3; ++p) EXPECT_FALSE(world.holds(world.home(k_chunk, p).v - 1, k_chunk, p));
    EXPECT_TRUE(remove(0, Epoch(1)).has_value()) << "again is fine";
}

}  // namespace
}  // namespace corelet
