// Chunks looked after by name: what is missing, damaged or astray is seen, and mended at once, also while healing
// is paused and would do none of it.
#include "heal/chunk_care.h"

#include "heal/heal.pb.h"
#include "heal/heal_testing.h"
#include "wire/message.h"

namespace corelet {
namespace {

using namespace corelet::testing;

struct CareWorld : HealWorld {
    CareWorld(u64 seed, usize corelets, std::string_view redundancy, u64 count, Healer::Options options = {})
        : HealWorld(seed, corelets, redundancy, unscrubbed(options)), corelets_(corelets) {
        put_some(count);
        for (u64 seq = 1; seq <= count; ++seq) seqs.push_back(seq);
        for (usize i = 0; i < corelets; ++i) healer(i).pause(true);
        chunks.pass(3_s);
    }
    static Healer::Options unscrubbed(Healer::Options options) {
        options.scrub_bytes_per_second = 0;
        return options;
    }
    [[nodiscard]] ChunkCare::Request request(bool verify = false, bool everywhere = false) const {
        return {k_pool, k_space, verify, everywhere};
    }
    [[nodiscard]] std::vector<ChunkFinding> look(bool verify = false, bool everywhere = false, usize asker = 0) {
        ChunkCare care(chunks.at(asker).env, *chunks.at(asker).rpc, chunks.at(asker).maps);
        auto found = chunks.run(asker, care.look(request(verify, everywhere), seqs));
        EXPECT_TRUE(found.has_value());
        EXPECT_EQ(found->size(), seqs.size());
        std::erase_if(*found, [](const ChunkFinding& f) {
            return f.lacking.empty() && f.unseen.empty() && f.strays.empty();
        });
        return *found;
    }
    [[nodiscard]] std::vector<ChunkCare::Outcome> mend(std::vector<ChunkFinding> findings) {
        ChunkCare care(chunks.at(0).env, *chunks.at(0).rpc, chunks.at(0).maps);
        auto done = chunks.run(0, care.mend(request(), std::move(findings)));
        EXPECT_TRUE(done.has_value());
        return *done;
    }
    [[nodiscard]] std::vector<ChunkCare::Outcome> bring_home(std::vector<ChunkFinding> findings) {
        ChunkCare care(chunks.at(0).env, *chunks.at(0).rpc, chunks.at(0).maps);
        auto done = chunks.run(0, care.bring_home(request(false, true), std::move(findings)));
        EXPECT_TRUE(done.has_value());
        return *done;
    }
    [[nodiscard]] usize home(u64 seq, u8 position) {
        return static_cast<usize>(chunks.home(chunk(seq), position).v - 1);
    }
    void lose(u64 seq, u8 position) {
        usize const at = home(seq, position);
        ASSERT_TRUE(chunks.run(at, chunks.at(at).store->remove_fragment({chunk(seq), position})).has_value());
    }
    [[nodiscard]] usize stranger(u64 seq) {
        for (usize i = 0; i < corelets_; ++i)
            if (!chunks.pool().current().position_of(chunks.slot(chunk(seq)), ChunkWorld::id(i))) return i;
        return corelets_;
    }
    std::vector<u64> seqs;

  private:
    usize corelets_;
};

TEST(ChunkCare, WhatIsWholeIsFoundWhole) {
    CareWorld world(41, 6, "ec:2+1", 20);
    EXPECT_TRUE(world.look().empty());
    EXPECT_TRUE(world.look(true, true).empty());
}

TEST(ChunkCare, WhatIsMissingIsSeenAndMadeAgain) {
    CareWorld world(42, 6, "ec:2+1", 20);
    world.lose(3, 0);
    world.lose(7, 2);
    auto const found = world.look();
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(found[0].chunk, HealWorld::chunk(3));
    EXPECT_EQ(found[0].survivors, 2U);
    EXPECT_EQ(found[0].blocks, 4U) << "8 blocks over 2";
    ASSERT_EQ(found[0].lacking.size(), 1U);
    EXPECT_EQ(found[0].lacking[0], (ChunkFinding::Place{world.chunks.home(HealWorld::chunk(3), 0), 0, false}));
    EXPECT_EQ(found[0].present.size(), 2U);
    for (auto const& outcome : world.mend(found)) EXPECT_TRUE(outcome.done) << outcome.why;
    EXPECT_TRUE(world.look(true).empty());
    EXPECT_EQ(world.what_is_wrong(20), "");
}

// Only by reading it can one know; its holder then knows too.
TEST(ChunkCare, WhatHasRottedIsSeenByReadingAndWrittenAnew) {
    CareWorld world(43, 6, "ec:2+1", 10);
    usize const at = world.home(4, 1);
    world.chunks.rot_fragment(at, {HealWorld::chunk(4), 1});
    EXPECT_TRUE(world.look().empty());
    auto const found = world.look(true);
    ASSERT_EQ(found.size(), 1U);
    ASSERT_EQ(found[0].lacking.size(), 1U);
    EXPECT_TRUE(found[0].lacking[0].damaged);
    EXPECT_EQ(found[0].survivors, 2U);
    auto const done = world.mend(found);
    ASSERT_EQ(done.size(), 1U);
    EXPECT_TRUE(done[0].done) << done[0].why;
    EXPECT_TRUE(world.look(true).empty());
    EXPECT_TRUE(
        world.chunks.run(at, world.chunks.at(at).store->verify_fragment({HealWorld::chunk(4), 1}, IoClass::kClient))
            .has_value());
}

TEST(ChunkCare, WhatCannotBeMadeIsSaidWithItsReason) {
    CareWorld world(44, 6, "ec:2+1", 3);
    world.lose(2, 0);
    world.lose(2, 1);
    auto const found = world.look();
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].survivors, 1U);
    auto const done = world.mend(found);
    ASSERT_EQ(done.size(), 2U);
    for (auto const& outcome : done) {
        EXPECT_FALSE(outcome.done);
        EXPECT_FALSE(outcome.why.empty());
    }
}

TEST(ChunkCare, AMemberThatIsDownIsOutOfReachNotMissing) {
    CareWorld world(45, 6, "ec:2+1", 10);
    usize const gone = world.home(1, 1) == 0 ? world.home(1, 2) : world.home(1, 1);
    world.chunks.crash(gone);
    world.chunks.change(mesh::CoreletDown{ChunkWorld::id(gone), Incarnation(1)});
    usize unseen = 0;
    auto const found = world.look();
    for (const ChunkFinding& finding : found) {
        EXPECT_TRUE(finding.lacking.empty());
        unseen += finding.unseen.size();
    }
    EXPECT_GE(unseen, 1U);
    for (auto const& outcome : world.mend(found)) {
        EXPECT_FALSE(outcome.done);
        EXPECT_NE(outcome.why.find("down"), std::string::npos);
    }
}

// Dead, by the word of the owner of the space: it is not made again.
TEST(ChunkCare, WhatIsDeadStaysDead) {
    CareWorld world(46, 6, "ec:2+1", 5);
    world.lose(2, 0);
    world.node.fates = [](const std::vector<u64>&) { return ChunkFates{{2}, {}}; };
    auto const done = world.mend(world.look());
    ASSERT_EQ(done.size(), 1U);
    EXPECT_TRUE(done[0].done) << "nothing is left to do";
    EXPECT_FALSE(world.chunks.holds(world.home(2, 0), HealWorld::chunk(2), 0));
}

TEST(ChunkCare, AStrayIsBroughtHome) {
    CareWorld world(47, 6, "ec:2+1", 10);
    ChunkId const chunk = HealWorld::chunk(5);
    usize const at = world.stranger(5), home = world.home(5, 1);
    world.chunks.smuggle(home, at, {chunk, 1});
    auto const found = world.look(false, true);
    ASSERT_EQ(found.size(), 1U);
    ASSERT_EQ(found[0].strays.size(), 1U);
    EXPECT_EQ(found[0].strays[0].corelet, ChunkWorld::id(at));
    EXPECT_EQ(found[0].survivors, 3U);
    auto const done = world.bring_home(found);
    ASSERT_EQ(done.size(), 1U);
    EXPECT_TRUE(done[0].done) << done[0].why;
    EXPECT_TRUE(world.chunks.holds(home, chunk, 1));
    EXPECT_FALSE(world.chunks.holds(at, chunk, 1));
}

// What its place's member cannot take stays where it is.
TEST(ChunkCare, AStrayStaysWhileItsPlaceIsOutOfReach) {
    CareWorld world(48, 6, "ec:2+1", 10);
    u64 const seq = world.home(5, 1) != 0 ? 5 : 6;
    ChunkId const chunk = HealWorld::chunk(seq);
    usize const at = world.stranger(seq), home = world.home(seq, 1);
    if (home == 0) GTEST_SKIP() << "the asker is the home of both";
    world.chunks.smuggle(home, at, {chunk, 1});
    world.chunks.crash(home);
    world.chunks.change(mesh::CoreletDown{ChunkWorld::id(home), Incarnation(1)});
    auto found = world.look(false, true);
    std::erase_if(found, [](const ChunkFinding& finding) { return finding.strays.empty(); });
    ASSERT_EQ(found.size(), 1U);
    auto const done = world.bring_home(found);
    ASSERT_EQ(done.size(), 1U);
    EXPECT_FALSE(done[0].done);
    EXPECT_TRUE(world.chunks.holds(at, chunk, 1));
}

// An order goes before what rounds have queued: at 64 KiB a second those take minutes.
TEST(ChunkCare, AnOrderDoesNotWaitForTheRounds) {
    Healer::Options options;
    options.bytes_per_second = 64 * k_kib;
    CareWorld world(49, 4, "ec:2+1", 80, options);
    for (usize i = 0; i < 4; ++i) world.healer(i).pause(false);
    // One corelet comes back without anything: 80 chunks' worth of work for its rounds.
    usize const poor = 1;
    usize queued = 0;
    u64 last = 0;
    for (u64 seq = 1; seq <= 80; ++seq)
        for (u8 p = 0; p < 3; ++p)
            if (world.home(seq, p) == poor) {
                world.lose(seq, p);
                ++queued;
                last = seq;
            }
    ASSERT_GT(queued, 20U);
    ASSERT_TRUE(world.chunks.until([&] { return world.status(poor).fragments_missing > 10; }, 20_s));
    u64 const left = world.status(poor).fragments_missing;
    world.seqs = {last};
    auto const found = world.look();
    ASSERT_EQ(found.size(), 1U) << "the rounds come to it last";
    for (auto const& outcome : world.mend(found)) EXPECT_TRUE(outcome.done) << outcome.why;
    EXPECT_GT(world.status(poor).fragments_missing, left / 2);
}

pb::SlotLoads loads_of(CareWorld& world, usize index, u32 slots) {
    pb::AskLoads question;
    question.set_pool(k_pool.v);
    question.set_slots(slots);
    auto const ask = [&](usize asker) -> Task<Result<Reply>> {
        return world.chunks.at(asker).rpc->call(ChunkWorld::id(index), heal_method::k_loads,
                                                encode_message(question));
    };
    auto const reply = world.chunks.run(0, ask(0));
    EXPECT_TRUE(reply.has_value());
    return decode_message<pb::SlotLoads>(reply->body).value();
}

TEST(ChunkCare, LoadsCountWhatLiesAtEachPlace) {
    CareWorld world(50, 5, "ec:2+1", 40);
    u32 const slots = world.chunks.pool().current().slots() * 2;
    std::map<u32, u64> expected;
    for (u64 seq = 1; seq <= 40; ++seq) ++expected[mesh::slot_of(HealWorld::chunk(seq), 0, slots)];
    std::map<u32, u64> heard;
    u64 bytes = 0, room = 0;
    for (usize i = 0; i < 5; ++i) {
        auto const loads = loads_of(world, i, slots);
        for (int row = 0; row < loads.slot_size(); ++row) {
            EXPECT_EQ(loads.fragments(row), expected[loads.slot(row)]);
            heard[loads.slot(row)] += loads.fragments(row);
            bytes += loads.bytes(row);
            room += loads.room(row);
        }
    }
    for (auto& [slot, count] : expected) EXPECT_EQ(heard[slot], 3 * count) << slot;
    EXPECT_EQ(bytes, 40U * 3 * 4 * k_block_bytes);
    EXPECT_EQ(room, 40U * 3 * k_unit_bytes);
}

TEST(ChunkCare, NonsenseIsRefused) {
    CareWorld world(51, 3, "ec:2+1", 1);
    pb::AskLoads question;
    question.set_pool(k_pool.v);
    question.set_slots(world.chunks.pool().current().slots() + 1);
    auto const reply = world.chunks.run(
        0, world.chunks.at(0).rpc->call(ChunkWorld::id(1), heal_method::k_loads, encode_message(question)));
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code, Code::kInvalid);
    pb::MendChunks order;
    order.set_pool(k_pool.v);
    order.add_seqs(1);
    auto const refused = world.chunks.run(
        0, world.chunks.at(0).rpc->call(ChunkWorld::id(1), heal_method::k_mend, encode_message(order)));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, Code::kInvalid) << "a chunk without the length of its fragments";
}

}  // namespace
}  // namespace corelet
