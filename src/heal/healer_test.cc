// Healing over several stores in the simulated world: after losses, rot, moves and deletes.
#include "heal/heal_testing.h"

#include "heal/heal.pb.h"
#include "wire/message.h"

namespace corelet {
namespace {

using namespace corelet::testing;

TEST(Healing, WhatALostCoreletHeldIsRebuiltOnTheOthers) {
    HealWorld world(1, 8, "ec:4+2");
    world.put_some(60);
    u64 lost = 0;
    for (u64 seq = 1; seq <= 60; ++seq)
        lost += positions_held(*world.chunks.at(3).store, HealWorld::chunk(seq), 24) != 0 ? 1 : 0;
    ASSERT_GT(lost, 20U);
    world.out(3);
    ASSERT_TRUE(world.settles(60)) << world.what_is_wrong(60);
    u64 rebuilt = 0, bytes = 0;
    for (usize i = 0; i < 8; ++i) {
        if (i == 3) continue;
        HealStatus const status = world.status(i);
        rebuilt += status.fragments_rebuilt;
        bytes += status.bytes_done;
    }
    EXPECT_GE(rebuilt, lost);
    EXPECT_LE(rebuilt, lost + lost / 4) << "little else moves";
    EXPECT_EQ(bytes, rebuilt * 2 * k_block_bytes) << "8 blocks over 4";
    ASSERT_TRUE(world.chunks.until([&] { return world.chunks.pool().tables.size() == 1; }, 60_s))
        << "former tables go when all are clean";
    for (u64 seq = 1; seq <= 60; ++seq) {
        Buffer const data = HealWorld::data(seq);
        auto const got = world.chunks.get(0, HealWorld::chunk(seq), data, 0, data.size());
        ASSERT_TRUE(got.has_value()) << got.error().to_string();
        EXPECT_TRUE(same_bytes(*got, data));
    }
    for (usize i = 0; i < 8; ++i) {
        if (i == 3) continue;
        HealStatus const status = world.status(i);
        EXPECT_EQ(status.fragments_missing, 0U);
        EXPECT_EQ(status.bytes_left, 0U);
        EXPECT_EQ(status.chunk_shares, 0U);
        EXPECT_EQ(status.eta, Duration{});
    }
}

// While it goes on: bytes_left counts what is left, chunks are counted once, and the time left is told within a
// factor of two.
TEST(Healing, SaysHowMuchIsLeftAndHowLong) {
    Healer::Options options;
    options.bytes_per_second = 64 * k_kib;
    HealWorld world(2, 8, "ec:4+2", options);
    world.put_some(160);
    std::set<u64> degraded;
    for (u64 seq = 1; seq <= 160; ++seq)
        for (usize i : {2, 3})
            if (positions_held(*world.chunks.at(i).store, HealWorld::chunk(seq), 24) != 0) degraded.insert(seq);
    world.out(2);
    world.out(3);
    auto const left = [&] {
        u64 bytes = 0, shares = 0;
        Duration eta{};
        for (usize i = 0; i < 8; ++i) {
            if (i == 2 || i == 3) continue;
            HealStatus const status = world.status(i);
            bytes += status.bytes_left;
            shares += status.chunk_shares;
            eta = std::max(eta, status.eta);
        }
        return std::tuple(bytes, shares, eta);
    };
    // All have looked.
    world.chunks.pass(500_ms);
    u64 missing_bytes = 0;
    std::set<u64> incomplete;
    for (u64 seq = 1; seq <= 160; ++seq)
        for (u8 p = 0; p < 6; ++p)
            if (usize const home = world.chunks.home(HealWorld::chunk(seq), p).v - 1;
                !world.chunks.holds(home, HealWorld::chunk(seq), p)) {
                missing_bytes += 2 * k_block_bytes;
                incomplete.insert(seq);
            }
    auto const [bytes, shares, eta] = left();
    EXPECT_EQ(bytes, missing_bytes);
    EXPECT_NEAR(static_cast<double>(shares) / HealStatus::k_whole_chunk, static_cast<double>(incomplete.size()),
                static_cast<double>(incomplete.size()) / 8 + 1);
    ASSERT_GT(bytes, 500U * k_kib);
    // The second half of the rebuild, against when it was in fact over.
    std::vector<std::pair<sim::VirtualTime, Duration>> told;
    u64 const half = bytes / 2;
    ASSERT_TRUE(world.chunks.until(
        [&] {
            auto const [now_left, now_shares, now_eta] = left();
            if (now_left <= half && now_left != 0 &&
                (told.empty() || world.chunks.world().now() - told.back().first >= 100_ms))
                told.emplace_back(world.chunks.world().now(), now_eta);
            return now_left == 0;
        },
        300_s));
    auto const end = world.chunks.world().now();
    ASSERT_GT(told.size(), 5U);
    for (auto const& [when, said] : told) {
        Duration const truth = end - when;
        EXPECT_LE(said.ms(), truth.ms() * 2 + 300) << truth.ms() << " ms before the end";
        EXPECT_GE(said.ms() * 2 + 300, truth.ms()) << truth.ms() << " ms before the end";
    }
}

TEST(Healing, FewestSurvivorsFirst) {
    Healer::Options options;
    options.bytes_per_second = 16 * k_kib;
    options.rebuilds_at_once = 1;
    HealWorld world(3, 6, "ec:4+2", options);
    world.put_some(30);
    // One misses two fragments: of all at n1, and also the one of chunk 20 at n2.
    auto const at_home = [&](usize index, u64 seq) {
        return FragmentId{HealWorld::chunk(seq),
                          *world.chunks.pool().current().position_of(world.chunks.slot(HealWorld::chunk(seq)),
                                                                     ChunkWorld::id(index))};
    };
    world.healer(0).pause(true);
    world.healer(1).pause(true);
    world.chunks.pass(7_s);
    for (u64 seq = 1; seq <= 30; ++seq)
        ASSERT_TRUE(world.chunks.run(0, world.chunks.at(0).store->remove_fragment(at_home(0, seq))).has_value());
    ASSERT_TRUE(world.chunks.run(1, world.chunks.at(1).store->remove_fragment(at_home(1, 20))).has_value());
    world.healer(0).pause(false);
    ASSERT_TRUE(world.chunks.until([&] { return world.status(0).fragments_rebuilt == 1; }, 30_s));
    EXPECT_TRUE(world.chunks.holds(0, HealWorld::chunk(20), at_home(0, 20).position));
}

// --- rot
// -------------------------------------------------------------------------------------------------------------

TEST(Healing, ScrubbingFindsRotAndItIsRebuilt) {
    Healer::Options options;
    options.scrub_bytes_per_second = 1 * k_mib;
    HealWorld world(4, 6, "ec:4+2", options);
    world.put_some(20);
    FragmentId const victim{HealWorld::chunk(9), 4};
    usize const holder = world.chunks.home(victim.chunk, 4).v - 1;
    world.chunks.rot_fragment(holder, victim, 1);
    ASSERT_TRUE(world.chunks.until([&] { return world.status(holder).fragments_rebuilt == 1; }, 60_s));
    EXPECT_TRUE(world.chunks.run(holder, world.chunks.at(holder).store->verify_fragment(victim, IoClass::kClient))
                    .has_value());
    EXPECT_GT(world.status(holder).scrubbed_bytes, 0U);
    EXPECT_EQ(world.status(holder).damaged, 0U);
}

TEST(Healing, RotThatAClientMeetsIsRebuilt) {
    Healer::Options options;
    options.scrub_bytes_per_second = 0;
    HealWorld world(5, 6, "ec:4+2", options);
    world.put_some(5);
    FragmentId const victim{HealWorld::chunk(3), 1};
    usize const holder = world.chunks.home(victim.chunk, 1).v - 1;
    world.chunks.rot_fragment(holder, victim, 0);
    world.chunks.pass(30_s);
    EXPECT_EQ(world.status(holder).fragments_rebuilt, 0U) << "nobody has looked";
    Buffer const data = HealWorld::data(3);
    ASSERT_TRUE(
        world.chunks.get((holder + 1) % 6, victim.chunk, data, 2 * k_block_bytes, k_block_bytes).has_value());
    ASSERT_TRUE(world.chunks.until([&] { return world.status(holder).fragments_rebuilt == 1; }, 30_s));
    EXPECT_TRUE(world.chunks.run(holder, world.chunks.at(holder).store->verify_fragment(victim, IoClass::kClient))
                    .has_value());
}

// --- what a digest hides
// ---------------------------------------------------------------------------------------------

// A member that has the chunk, but another position of it than its own, misses one all the same.
TEST(Healing, APositionThatIsNotOnesOwnDoesNotCount) {
    HealWorld world(6, 6, "ec:2+1");
    world.put_some(1);
    ChunkId const chunk = HealWorld::chunk(1);
    usize const one = world.chunks.home(chunk, 1).v - 1, two = world.chunks.home(chunk, 2).v - 1;
    // n(one) has position 2 as well, and loses its own.
    auto const copy =
        world.chunks.run(two, world.chunks.at(two).store->read_fragment({chunk, 2}, 0, 4 * k_block_bytes, {}));
    ASSERT_TRUE(copy.has_value());
    world.chunks.plant(one, {chunk, 2}, {2, 1}, 8 * k_block_bytes, copy->data.flatten());
    ASSERT_TRUE(world.chunks.run(one, world.chunks.at(one).store->remove_fragment({chunk, 1})).has_value());
    ASSERT_TRUE(world.settles(1, 60_s)) << world.what_is_wrong(1);
}

// What the rebuilder itself holds of the chunk, at a place that is not its own, is one of the k.
TEST(Healing, ItsOwnStrayIsASourceToo) {
    HealWorld world(61, 4, "ec:2+1");
    world.put_some(1);
    ChunkId const chunk = HealWorld::chunk(1);
    usize const one = world.chunks.home(chunk, 1).v - 1, two = world.chunks.home(chunk, 2).v - 1;
    for (usize i = 0; i < 4; ++i) world.healer(i).pause(true);
    world.chunks.pass(8_s);
    world.chunks.smuggle(two, one, {chunk, 2});
    ASSERT_TRUE(world.chunks.run(one, world.chunks.at(one).store->remove_fragment({chunk, 1})).has_value());
    for (usize i = 0; i < 4; ++i) world.healer(i).pause(false);
    EXPECT_TRUE(world.settles(1, 60_s)) << world.what_is_wrong(1);
}

TEST(Healing, LongAnswersComeInPages) {
    Healer::Options options;
    options.chunks_a_reply = 3;
    options.chunks_a_round = 20;
    HealWorld world(7, 6, "ec:2+1", options);
    world.put_some(120);
    world.out(1);
    ASSERT_TRUE(world.settles(120, 300_s)) << world.what_is_wrong(120);
}

// --- garbage
// ---------------------------------------------------------------------------------------------------------

TEST(Healing, TheDeadAreNotRaisedButBuried) {
    HealWorld world(8, 6, "ec:2+1");
    world.put_some(12);
    world.node.fates = [](const std::vector<u64>& seqs) {
        ChunkFates fates;
        for (u64 seq : seqs)
            if (seq <= 4) fates.dead.insert(seq);
        return fates;
    };
    ChunkId const dead = HealWorld::chunk(2);
    usize const gone = world.chunks.home(dead, 0).v - 1;
    ASSERT_TRUE(world.chunks.run(gone, world.chunks.at(gone).store->remove_fragment({dead, 0})).has_value());
    auto const held = [&](u64 from, u64 to) {
        u64 count = 0;
        for (u64 seq = from; seq <= to; ++seq)
            for (usize i = 0; i < 6; ++i)
                count += static_cast<u64>(
                    std::popcount(positions_held(*world.chunks.at(i).store, HealWorld::chunk(seq), 24)));
        return count;
    };
    ASSERT_TRUE(world.chunks.until([&] { return held(1, 4) == 0; }, 60_s)) << held(1, 4);
    EXPECT_EQ(held(5, 12), 24U) << "the living stay";
    world.chunks.pass(20_s);
    EXPECT_EQ(held(1, 4), 0U);
}

TEST(Healing, NoAnswerCountsAsLife) {
    HealWorld world(9, 6, "ec:2+1");
    world.put_some(12);
    world.node.fates = [](const std::vector<u64>&) -> Result<ChunkFates> {
        return fail(Code::kTimeout, "no answer");
    };
    ChunkId const chunk = HealWorld::chunk(2);
    usize const gone = world.chunks.home(chunk, 0).v - 1;
    ASSERT_TRUE(world.chunks.run(gone, world.chunks.at(gone).store->remove_fragment({chunk, 0})).has_value());
    EXPECT_TRUE(world.settles(12, 60_s)) << world.what_is_wrong(12);
}

TEST(Healing, WhatIsOnItsWayIsLeftAlone) {
    HealWorld world(10, 6, "ec:2+1");
    bool pending = true;
    world.node.fates = [&](const std::vector<u64>& seqs) {
        ChunkFates fates;
        if (pending) fates.pending.insert(seqs.begin(), seqs.end());
        return fates;
    };
    world.put_some(3);
    ChunkId const chunk = HealWorld::chunk(2);
    usize const gone = world.chunks.home(chunk, 0).v - 1;
    ASSERT_TRUE(world.chunks.run(gone, world.chunks.at(gone).store->remove_fragment({chunk, 0})).has_value());
    world.chunks.pass(20_s);
    EXPECT_FALSE(world.chunks.holds(gone, chunk, 0));
    EXPECT_EQ(world.status(gone).fragments_missing, 0U);
    pending = false;
    EXPECT_TRUE(world.settles(3, 60_s)) << world.what_is_wrong(3);
}

TEST(Healing, ADeletedSpaceGoesByProofAlone) {
    HealWorld world(11, 4, "ec:2+1");
    world.put_some(6);
    for (usize i = 0; i < 4; ++i) world.rig(i).spaces.deleted.insert(k_space);
    world.chunks.pass(20_s);
    u64 held = 0;
    for (usize i = 0; i < 4; ++i) held += world.chunks.at(i).store->fragment_count();
    EXPECT_EQ(held, 18U) << "hearsay";
    world.node.proven_deleted.insert(k_space);
    EXPECT_TRUE(world.chunks.until(
        [&] {
            u64 left = 0;
            for (usize i = 0; i < 4; ++i) left += world.chunks.at(i).store->fragment_count();
            return left == 0;
        },
        60_s));
}

// --- moves
// -----------------------------------------------------------------------------------------------------------

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
                                false};
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
