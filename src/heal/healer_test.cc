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
    // What is there counts as rebuilt only when it was read back.
    ASSERT_TRUE(world.chunks.until(
        [&] {
            rebuilt = bytes = 0;
            for (usize i = 0; i < 8; ++i) {
                if (i == 3) continue;
                HealStatus const status = world.status(i);
                rebuilt += status.fragments_rebuilt;
                bytes += status.bytes_done;
            }
            return rebuilt >= lost;
        },
        5_s));
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

// --- versions
// ---------------------------------------------------------------------------------------------------------

pb::CompareInventory question_about(const mesh::Pool& pool, u64 epoch) {
    pb::CompareInventory question;
    question.set_pool(pool.id.v);
    question.set_map_epoch(epoch);
    question.set_slots(pool.current().slots());
    return question;
}

TEST(Healing, AnAskerOfAVersionWithoutColumnsIsAnswered) {
    HealWorld world(9, 4, "ec:2+1");
    world.put_some(30);
    pb::CompareInventory columns = question_about(world.chunks.pool(), world.chunks.map().epoch.v);
    pb::CompareInventory spelled = columns;
    for (u32 slot = 0; slot < columns.slots(); ++slot) {
        columns.add_slot(slot);
        columns.add_count(0);
        columns.add_sum(0);
        spelled.add_digests()->set_slot(slot);
    }
    auto const ask = [&](const pb::CompareInventory& question) {
        auto const reply =
            world.chunks.run(0, world.chunks.at(0).rpc->call(ChunkWorld::id(1), heal_method::k_compare,
                                                             encode_message(question), {}, {}));
        auto const answer = decode_message<pb::CompareInventoryReply>(reply.value().body).value();
        EXPECT_GT(answer.chunks_size(), 5);
        return answer.SerializeAsString();
    };
    EXPECT_EQ(ask(columns), ask(spelled));
}

Task<Result<Reply>> compare_digests_alone(Request request, std::map<CoreletId, u32>* understood) {
    auto const question = decode_message<pb::CompareInventory>(request.body).value();
    pb::CompareInventoryReply reply;
    reply.set_map_epoch(question.map_epoch());
    reply.set_answered(static_cast<u32>(question.digests_size()));
    (*understood)[request.from->corelet] += reply.answered();
    co_return Reply{encode_message(reply), {}};
}

TEST(Healing, WhoDoesNotKnowColumnsIsAskedWithout) {
    HealWorld world(10, 4, "ec:2+1");
    std::map<CoreletId, u32> understood;
    world.chunks.at(1).rpc->register_handler(heal_method::k_compare, [&](Request request) {
        return compare_digests_alone(std::move(request), &understood);
    });
    ASSERT_TRUE(world.chunks.until([&] { return understood[ChunkWorld::id(0)] != 0; }, 60_s));
    EXPECT_GE(understood[ChunkWorld::id(0)], world.chunks.pool().current().slots() / 4);
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

}  // namespace
}  // namespace corelet
