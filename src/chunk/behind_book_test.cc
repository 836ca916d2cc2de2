#include "chunk/behind_book.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

constexpr PoolId k_pool_of_book{1};
constexpr Instant k_began{1'000'000'000};

// Six corelets, ec:4+2 with a write quorum of five.
mesh::Map quorum_map() {
    mesh::PoolSpec spec;
    spec.name = "main";
    spec.redundancy = {4, 2};
    spec.level = mesh::Level::kCorelet;
    spec.write_quorum = 5;
    return mesh::testing::after(mesh::testing::make_map(6), mesh::PoolCreated{spec});
}

ChunkId chunk_of(u64 seq, u64 space = 7) {
    return ChunkId{SpaceId(space), seq};
}

CoreletId home_of(const mesh::Map& map, ChunkId chunk, unsigned position) {
    const mesh::Pool& pool = map.pools[0];
    return pool.current().at(pool.slot(chunk), position);
}

void learn_first(BehindBook& book, const mesh::Map& map, ChunkId chunk, unsigned count) {
    for (unsigned p = 0; p < count; ++p) book.learn(chunk, home_of(map, chunk, p), 1U << p);
}

TEST(BehindBook, CountsWhoHasItUntilAllInServiceHave) {
    mesh::Map const map = quorum_map();
    BehindBook book({});
    ASSERT_TRUE(book.begin(k_pool_of_book, chunk_of(1), k_began));
    learn_first(book, map, chunk_of(1), 5);
    EXPECT_TRUE(book.has_tail(chunk_of(1)));
    book.look(map, k_began);
    auto rows = book.rows(map, 10);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].holders.size(), 5U);
    EXPECT_EQ(rows[0].chunks, 1U);
    EXPECT_FALSE(std::ranges::count(rows[0].holders, home_of(map, chunk_of(1), 5)));
    book.learn(chunk_of(1), home_of(map, chunk_of(1), 5), 1U << 5);
    book.look(map, k_began);
    EXPECT_EQ(book.size(), 1U) << "its put may still be under way";
    book.end_tail(chunk_of(1));
    book.look(map, k_began);
    EXPECT_TRUE(book.is_empty());
}

// Another position than its own is not what its place wants.
TEST(BehindBook, AStrayAtAMemberDoesNotMakeItWhole) {
    mesh::Map const map = quorum_map();
    BehindBook book({});
    book.watch(k_pool_of_book, chunk_of(1), k_began);
    learn_first(book, map, chunk_of(1), 5);
    book.learn(chunk_of(1), home_of(map, chunk_of(1), 5), 1U << 2);
    book.look(map, k_began);
    EXPECT_EQ(book.size(), 1U);
}

TEST(BehindBook, WhoIsDownIsNotWaitedFor) {
    mesh::Map map = quorum_map();
    BehindBook book({});
    book.watch(k_pool_of_book, chunk_of(1), k_began);
    learn_first(book, map, chunk_of(1), 5);
    map = mesh::testing::after(map, mesh::CoreletDown{home_of(map, chunk_of(1), 5), Incarnation(1)});
    book.look(map, k_began);
    EXPECT_TRUE(book.is_empty()) << "the map says what it lacks";
}

// A checkpoint waits for what was put before it, and for no longer than is of use.
TEST(BehindBook, SettlesByTimeAndBySpace) {
    mesh::Map const map = quorum_map();
    BehindBook book({});
    ASSERT_TRUE(book.begin(k_pool_of_book, chunk_of(1), k_began));
    u64 const mark = book.mark();
    ASSERT_TRUE(book.begin(k_pool_of_book, chunk_of(2), k_began));
    EXPECT_FALSE(book.is_settled(SpaceId(7), mark, k_began));
    EXPECT_TRUE(book.is_settled(SpaceId(8), mark, k_began)) << "another's";
    learn_first(book, map, chunk_of(1), 6);
    book.end_tail(chunk_of(1));
    book.look(map, k_began);
    EXPECT_TRUE(book.is_settled(SpaceId(7), mark, k_began)) << "what began later is another checkpoint's affair";
    EXPECT_FALSE(book.is_settled(SpaceId(7), book.mark(), k_began + 9_s));
    EXPECT_TRUE(book.is_settled(SpaceId(7), book.mark(), k_began + 10_s));
}

// Nothing is known yet of what a former owner put: it counts as the worst that a put may leave, the down among its
// holders.
TEST(BehindBook, OfAFormerOwnersTheWorstIsAssumed) {
    mesh::Map map = quorum_map();
    BehindBook book({});
    book.watch(k_pool_of_book, chunk_of(1), k_began);
    auto rows = book.rows(map, 10);
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].holders.size(), 5U) << "its write quorum";
    CoreletId const away = home_of(map, chunk_of(1), 3);
    map = mesh::testing::after(map, mesh::CoreletDown{away, Incarnation(1)});
    rows = book.rows(map, 10);
    EXPECT_EQ(rows[0].holders.size(), 5U);
    EXPECT_TRUE(std::ranges::count(rows[0].holders, away));
    EXPECT_EQ(book.to_ask(k_began), std::vector<ChunkId>{chunk_of(1)});
    EXPECT_TRUE(book.to_ask(k_began + 500_ms).empty()) << "once a second";
    learn_first(book, map, chunk_of(1), 2);
    book.asked(chunk_of(1), false);
    EXPECT_EQ(book.rows(map, 10)[0].holders.size(), 2U) << "who has not answered is taken not to have it";
}

TEST(BehindBook, WhatIsGoneOrOldIsStruckOff) {
    mesh::Map const map = quorum_map();
    BehindBook book({});
    book.watch(k_pool_of_book, chunk_of(1), k_began);
    book.watch(k_pool_of_book, chunk_of(2), k_began);
    book.asked(chunk_of(1), false);
    EXPECT_EQ(book.size(), 2U) << "somebody may have it";
    book.asked(chunk_of(1), true);
    EXPECT_EQ(book.size(), 1U) << "all say that it is deleted";
    book.look(map, k_began + 59_s);
    EXPECT_EQ(book.size(), 1U);
    book.look(map, k_began + 60_s);
    EXPECT_TRUE(book.is_empty());
}

TEST(BehindBook, HasABound) {
    BehindBook book({.chunks_max = 3});
    for (u64 seq = 1; seq <= 3; ++seq) EXPECT_TRUE(book.begin(k_pool_of_book, chunk_of(seq), k_began));
    EXPECT_FALSE(book.begin(k_pool_of_book, chunk_of(4), k_began));
    EXPECT_TRUE(book.begin(k_pool_of_book, chunk_of(3), k_began)) << "a retry";
    book.watch(k_pool_of_book, chunk_of(5), k_began);
    EXPECT_EQ(book.size(), 3U);
    book.forget(chunk_of(2));
    EXPECT_TRUE(book.begin(k_pool_of_book, chunk_of(4), k_began));
}

}  // namespace
}  // namespace corelet
