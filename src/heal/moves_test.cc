// Moves of fragments over several stores in the simulated world: former holders, strays, and when a table may go.
#include "heal/heal.pb.h"
#include "heal/heal_testing.h"
#include "wire/message.h"

namespace corelet {
namespace {

using namespace corelet::testing;

// A move by hand: `from` leaves position `position` of the chunk's slot to `to`.
mesh::Map moved(const ChunkWorld& world, ChunkId chunk, u8 position, CoreletId to) {
    auto row = world.pool().current().row(world.slot(chunk));
    row[position] = to;
    return world.with_row(world.slot(chunk), row);
}
usize stranger(const ChunkWorld& world, ChunkId chunk, usize corelets) {
    for (usize i = 0; i < corelets; ++i)
        if (!world.pool().current().position_of(world.slot(chunk), ChunkWorld::id(i))) return i;
    return corelets;
}

TEST(Moves, AFragmentMovesAndTheFormerTableGoes) {
    HealWorld world(12, 6, "ec:2+1");
    world.put_some(30);
    ChunkId const chunk = HealWorld::chunk(5);
    usize const from = world.chunks.home(chunk, 1).v - 1, to = stranger(world.chunks, chunk, 6);
    world.chunks.set_map(moved(world.chunks, chunk, 1, ChunkWorld::id(to)));
    EXPECT_TRUE(world.settles(30)) << world.what_is_wrong(30);
    EXPECT_FALSE(world.chunks.holds(from, chunk, 1));
    EXPECT_TRUE(world.chunks.until([&] { return world.chunks.pool().tables.size() == 1; }, 60_s));
    EXPECT_EQ(world.status(from).strays_dropped, 1U);
}

// Who has no place any more in the current table is still waited for by the former one, so it reports.
TEST(Moves, OneThatLeavesAltogetherReportsCleanToo) {
    HealWorld world(13, 6, "ec:2+1");
    world.put_some(30);
    world.chunks.change(mesh::DutyChanged{ChunkWorld::id(2), mesh::Duty::kDrain});
    ASSERT_FALSE(world.chunks.pool().current().has(ChunkWorld::id(2)));
    ASSERT_TRUE(world.chunks.until([&] { return world.chunks.pool().tables.size() == 1; }, 120_s));
    EXPECT_TRUE(world.settles(30)) << world.what_is_wrong(30);
    EXPECT_EQ(world.chunks.at(2).store->fragment_count(), 0U);
}

// The last sound copy is never let go of, whatever the tables say: the member's own has rotted.
TEST(Moves, AStrayStaysUntilItsMemberHasVerifiedItsOwn) {
    Healer::Options options;
    options.scrub_bytes_per_second = 0;
    HealWorld world(14, 3, "rep:1", options);
    world.put_some(1);
    ChunkId const chunk = HealWorld::chunk(1);
    usize const home = world.chunks.home(chunk, 0).v - 1, other = (home + 1) % 3;
    Buffer const data = HealWorld::data(1);
    world.healer(home).pause(true);
    world.chunks.pass(8_s);
    world.chunks.plant(other, {chunk, 0}, {1, 0}, data.size(), data);
    world.chunks.rot_fragment(home, {chunk, 0}, 2);
    world.chunks.pass(30_s);
    EXPECT_TRUE(world.chunks.holds(other, chunk, 0)) << "the member's copy does not verify";
    EXPECT_EQ(world.status(other).strays, 1U);
    // It is offered; what is rotten is written anew, confirmed, and only then the stray goes.
    world.healer(home).pause(false);
    ASSERT_TRUE(world.chunks.until([&] { return !world.chunks.holds(other, chunk, 0); }, 60_s));
    EXPECT_TRUE(world.chunks.run(home, world.chunks.at(home).store->verify_fragment({chunk, 0}, IoClass::kClient))
                    .has_value());
    auto const got = world.chunks.get(2, chunk, data, 0, data.size());
    ASSERT_TRUE(got.has_value());
    EXPECT_TRUE(same_bytes(*got, data));
}

// What was a segment of the log stays where its stream says it lies; only when it says so no more is it a stray.
TEST(Moves, AReplicaOfTheLogStaysUntilTheStreamListsItNoMore) {
    HealWorld world(16, 4, "rep:1");
    ChunkId const chunk = HealWorld::chunk(1);
    usize const from = world.chunks.home(chunk, 0).v - 1, to = (from + 1) % 4;
    Store& store = *world.chunks.at(from).store;
    Buffer const data = HealWorld::data(1);
    SegmentSpec spec;
    spec.epoch = Epoch(1);
    spec.owner = ChunkWorld::id(from);
    ASSERT_TRUE(world.chunks.run(from, store.prepare_segment(chunk, spec)).has_value());
    ASSERT_TRUE(world.chunks.run(from, store.write_segment(chunk, spec.epoch, spec.owner, 0, data)).has_value());
    ASSERT_TRUE(world.chunks.run(from, store.seal_segment(chunk, data.size())).has_value());
    FragmentHeader header;
    header.chunk_data_bytes = data.size();
    ASSERT_TRUE(world.chunks.run(from, store.adopt_segment(chunk, {chunk, 0}, header, {})).has_value());
    world.node.listed_segments = {chunk.seq};
    world.chunks.set_map(moved(world.chunks, chunk, 0, ChunkWorld::id(to)));
    ASSERT_TRUE(world.chunks.until([&] { return world.chunks.holds(to, chunk, 0); }, 60_s));
    world.chunks.pass(30_s);
    EXPECT_TRUE(world.chunks.holds(from, chunk, 0));
    world.node.listed_segments.clear();
    EXPECT_TRUE(world.chunks.until([&] { return !world.chunks.holds(from, chunk, 0); }, 60_s));
}

// Two corelets that each take the other for the member (they know different maps) both hold the only fragment:
// neither lets go, and when they agree one does (protocols 8.5).
TEST(Moves, TwoHoldersNeverDeleteForEachOther) {
    HealWorld world(15, 3, "rep:1");
    world.put_some(1);
    ChunkId const chunk = HealWorld::chunk(1);
    usize const a = world.chunks.home(chunk, 0).v - 1, b = (a + 1) % 3, c = (a + 2) % 3;
    Buffer const data = HealWorld::data(1);
    auto const with_a = world.chunks.map_of(a);
    world.node.clean = {};
    world.chunks.set_map(moved(world.chunks, chunk, 0, ChunkWorld::id(b)));
    auto const with_b = world.chunks.map_of(a);
    world.chunks.plant(b, {chunk, 0}, {1, 0}, data.size(), data);
    world.chunks.show_map(a, with_b);  // takes b for the member
    world.chunks.show_map(b, with_a);  // takes a for the member
    world.chunks.show_map(c, with_b);
    world.chunks.pass(60_s);
    EXPECT_TRUE(world.chunks.holds(a, chunk, 0));
    EXPECT_TRUE(world.chunks.holds(b, chunk, 0));
    EXPECT_EQ(world.chunks.at(b).maps.heard, with_b->epoch) << "who was asked under a newer map heard of it";
    world.chunks.show_map(b, with_b);
    ASSERT_TRUE(world.chunks.until([&] { return !world.chunks.holds(a, chunk, 0); }, 60_s));
    EXPECT_TRUE(world.chunks.holds(b, chunk, 0));
}

// A member whose map is older than the asker's tells nothing: under its old map it may still admit puts that the
// asker would not hear of. So nothing is clean until it has moved on (protocols 9.1).
TEST(Moves, NobodyIsCleanBeforeAllHaveTheMap) {
    HealWorld world(16, 6, "ec:2+1");
    world.put_some(10);
    ChunkId const chunk = HealWorld::chunk(5);
    usize const from = world.chunks.home(chunk, 1).v - 1, to = stranger(world.chunks, chunk, 6);
    auto const old_map = world.chunks.map_of(from);
    world.node.clean = [&](CoreletId id, MapEpoch epoch, u64) { world.clean_reports.emplace_back(id, epoch); };
    world.chunks.set_map(moved(world.chunks, chunk, 1, ChunkWorld::id(to)));
    auto const new_map = world.chunks.map_of(to);
    world.chunks.show_map(from, old_map);
    for (usize i = 0; i < 6; ++i) world.healer(i).wake();
    world.chunks.pass(20_s);
    auto const reported = [&](usize index) {
        return std::any_of(world.clean_reports.begin(), world.clean_reports.end(), [&](const auto& report) {
            return report == std::pair(ChunkWorld::id(index), new_map->epoch);
        });
    };
    EXPECT_FALSE(reported(to)) << "the former member could still take a put by its table";
    EXPECT_EQ(world.chunks.at(from).maps.heard, new_map->epoch);
    world.chunks.show_map(from, new_map);
    EXPECT_TRUE(world.chunks.until([&] { return reported(to) && reported(from); }, 60_s));
}

// A put that a former member admitted by its table, and that has not ended: who took its place could still miss
// what comes of it, so neither is clean before (protocols 9.1).
TEST(Moves, NobodyIsCleanWhileAPutByAFormerTableGoesOn) {
    HealWorld world(18, 6, "ec:2+1");
    world.put_some(4);
    ChunkId const chunk = HealWorld::chunk(77);
    usize const from = world.chunks.home(chunk, 1).v - 1, to = stranger(world.chunks, chunk, 6),
                writer = world.chunks.home(chunk, 0).v - 1;
    world.node.clean = [&](CoreletId id, MapEpoch epoch, u64) { world.clean_reports.emplace_back(id, epoch); };
    sim::MediaFile* const device = world.chunks.machine(from).media().find("/device");
    device->faults.stuck_until = world.chunks.world().now() + 30_s;
    Buffer const data = ChunkWorld::bytes(5, 4);
    struct Put {
        static Task<void> run(MeshChunks* chunks, CoreletId at, MeshChunks::FragmentPut put) {
            (void)co_await chunks->put_fragment(at, std::move(put));
        }
    };
    MeshChunks::FragmentPut put{k_pool,
                                FragmentId{chunk, 1},
                                world.chunks.pool().tables.front(),
                                world.chunks.pool().spec.redundancy,
                                8 * k_block_bytes,
                                data,
                                block_crcs(BufferChain(data)),
                                TrafficClass::kClient,
                                SpaceClass::kClient};
    world.chunks.machine(writer).spawn(Put::run(world.chunks.at(writer).chunks.get(), ChunkWorld::id(from), put));
    world.chunks.pass(50_ms);
    world.chunks.set_map(moved(world.chunks, chunk, 1, ChunkWorld::id(to)));
    MapEpoch const epoch = world.chunks.pool().current().epoch();
    EXPECT_EQ(world.chunks.at(from).fragments->puts_before(epoch), 1U);
    for (usize i = 0; i < 6; ++i) world.healer(i).wake();
    auto const reported = [&](usize index) {
        return std::find(world.clean_reports.begin(), world.clean_reports.end(),
                         std::pair(ChunkWorld::id(index), epoch)) != world.clean_reports.end();
    };
    world.chunks.pass(25_s);
    EXPECT_FALSE(reported(to));
    EXPECT_FALSE(reported(from));
    ASSERT_TRUE(world.chunks.until([&] { return reported(to) && reported(from); }, 60_s));
    EXPECT_TRUE(world.chunks.holds(to, chunk, 1)) << "clean is who has it";
}

// A deletion that rests on an older epoch is under way when its holder becomes the member again: it does not tell
// the other to let go (protocols 8.5).
TEST(Moves, WhatIsBeingDeletedIsNotConfirmed) {
    for (u64 seed = 1; seed <= 12; ++seed) {
        HealWorld world(100 + seed, 3, "rep:1");
        world.put_some(1);
        ChunkId const chunk = HealWorld::chunk(1);
        usize const a = world.chunks.home(chunk, 0).v - 1, b = (a + 1) % 3;
        Buffer const data = HealWorld::data(1);
        world.node.clean = {};
        world.chunks.set_map(moved(world.chunks, chunk, 0, ChunkWorld::id(b)));
        world.chunks.plant(b, {chunk, 0}, {1, 0}, data.size(), data);
        // Until a, told by b that its copy is sound, begins to delete its own; its device hangs in that.
        u64 const dropped = world.status(a).strays_dropped;
        sim::MediaFile* const device = world.chunks.machine(a).media().find("/device");
        Prng draws(seed);
        world.healer(a).wake();
        world.chunks.pass(Duration{static_cast<i64>(draws.below(4'000'000))});
        device->faults.stuck_until = world.chunks.world().now() + 8_s;
        world.chunks.pass(100_ms);
        world.chunks.set_map(moved(world.chunks, chunk, 0, ChunkWorld::id(a)));
        for (usize i = 0; i < 3; ++i) world.healer(i).wake();
        world.chunks.pass(60_s);
        bool const held = world.chunks.holds(a, chunk, 0) || world.chunks.holds(b, chunk, 0);
        ASSERT_TRUE(held) << "seed " << seed << ": both let go, " << world.status(a).strays_dropped - dropped;
        auto const got = world.chunks.get(2, chunk, data, 0, data.size());
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data));
    }
}

// Garbage of a put that was given up, in a space that nobody owns now: too little to rebuild it, nobody to say that
// it is dead. It stays missing, and holds up no table.
TEST(Moves, WhatNobodyHasHoldsUpNoTable) {
    HealWorld world(19, 6, "ec:2+1");
    world.put_some(10);
    ChunkId const chunk = HealWorld::chunk(5), garbage = HealWorld::chunk(500);
    world.chunks.plant(world.chunks.home(garbage, 1).v - 1, {garbage, 1}, {2, 1}, 8 * k_block_bytes,
                       ChunkWorld::bytes(1, 4));
    world.chunks.set_map(moved(world.chunks, chunk, 1, ChunkWorld::id(stranger(world.chunks, chunk, 6))));
    EXPECT_TRUE(world.chunks.until([&] { return world.chunks.pool().tables.size() == 1; }, 60_s));
    EXPECT_EQ(world.status(world.chunks.home(garbage, 0).v - 1).fragments_missing, 1U);
    EXPECT_TRUE(world.settles(10));
}

// A stray whose tables are long gone is offered to the member of its place.
TEST(Moves, AForgottenStrayIsHandedOn) {
    HealWorld world(17, 6, "ec:2+1");
    world.put_some(4);
    ChunkId const chunk = HealWorld::chunk(3);
    usize const holder = stranger(world.chunks, chunk, 6);
    std::array<usize, 3> homes{};
    for (u8 p = 0; p < 3; ++p) homes[p] = world.chunks.home(chunk, p).v - 1;
    for (usize home : homes) world.healer(home).pause(true);
    world.chunks.pass(8_s);
    // Two of three: decoding alone would not do.
    world.chunks.smuggle(homes[0], holder, {chunk, 0});
    world.chunks.smuggle(homes[1], holder, {chunk, 1});
    for (usize home : homes) world.healer(home).pause(false);
    EXPECT_TRUE(world.settles(4, 120_s)) << world.what_is_wrong(4);
}

}  // namespace
}  // namespace corelet
