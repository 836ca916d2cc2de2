#include "device/fragment_index.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace corelet {
namespace {

FragmentEntry entry(u64 space, u64 seq, u8 position = 0, u32 blocks = 4) {
    FragmentEntry e;
    e.space = space;
    e.seq = seq;
    e.position = position;
    e.blocks = blocks;
    return e;
}

TEST(FragmentIndex, AgreesWithAMap) {
    Prng random{4};
    FragmentIndex index;
    std::map<FragmentId, std::vector<UnitExtent>> model;
    for (int step = 0; step < 20'000; ++step) {
        u64 const range = step < 10'000 ? 3000 : 300;  // grows, then shrinks
        FragmentId const id{{SpaceId(random.below(3)), random.below(range * 3)}, static_cast<u8>(random.below(2))};
        if (!model.contains(id) && random.chance(step < 10'000 ? 2 : 1, 3)) {
            u64 const units = fragment_units(4);
            u32 const at = static_cast<u32>(random.below(1000));
            std::vector<UnitExtent> extents{{at, static_cast<u32>(units)}};
            if (random.chance(1, 5)) extents.push_back({at + 2000, 1});
            index.insert(entry(id.chunk.space.v, id.chunk.seq, id.position), extents);
            model[id] = extents;
        } else if (!model.empty()) {
            auto at = model.lower_bound(id);
            if (at == model.end()) at = model.begin();
            index.erase(at->first);
            model.erase(at);
        }
        ASSERT_EQ(index.size(), model.size());
        const FragmentEntry* const found = index.find(id);
        ASSERT_EQ(found != nullptr, model.contains(id));
        if (found) ASSERT_EQ(index.extents_of(*found), model[id]);
        if (step % 500 != 0) continue;
        auto at = model.begin();
        index.for_each_after(std::nullopt, [&](const FragmentEntry& e) {
            EXPECT_EQ(e.id(), (at++)->first);
            return true;
        });
        EXPECT_EQ(at, model.end());
        auto after = model.upper_bound(id);
        index.for_each_after(id, [&](const FragmentEntry& e) {
            EXPECT_EQ(e.id(), (after++)->first);
            return true;
        });
        EXPECT_EQ(after, model.end());
    }
}

TEST(FragmentIndex, DigestsDependOnTheSetAlone) {
    FragmentIndex a, b;
    std::vector<UnitExtent> const extents{{0, 1}};
    for (u64 i = 0; i < 500; ++i) a.insert(entry(1, i), extents);
    for (u64 i = 500; i-- > 0;) b.insert(entry(1, i, 3), extents);
    b.insert(entry(2, 7), extents);
    EXPECT_NE(a.digest_bucket(FragmentIndex::bucket_of({SpaceId(2), 7})),
              b.digest_bucket(FragmentIndex::bucket_of({SpaceId(2), 7})));
    b.erase(entry(2, 7).id());
    for (usize i = 0; i < FragmentIndex::k_digest_buckets; ++i) EXPECT_EQ(a.digest_bucket(i), b.digest_bucket(i));
    // Pinned: peers of all versions compare these.
    EXPECT_EQ(FragmentIndex::digest_hash({SpaceId(1), 2}), 0xABCC051B6DA92164ULL);
    EXPECT_EQ(FragmentIndex::bucket_of({SpaceId(1), 2}), 687U);
}

TEST(FragmentIndex, TakesAboutFiftyBytesAFragment) {
    std::vector<UnitExtent> const extents{{0, 1}};
    constexpr u64 k_many = 200'000;
    FragmentIndex rising, scattered;
    Prng random{1};
    for (u64 i = 0; i < k_many; ++i) {
        rising.insert(entry(1, i), extents);
        FragmentId id{{SpaceId(1), random.next()}, 0};
        while (scattered.find(id)) id.chunk.seq = random.next();
        scattered.insert(entry(1, id.chunk.seq), extents);
    }
    RecordProperty("rising_bytes", static_cast<int>(rising.memory_bytes() / k_many));
    RecordProperty("scattered_bytes", static_cast<int>(scattered.memory_bytes() / k_many));
    std::cout << "bytes a fragment: ids rising " << rising.memory_bytes() / k_many << ", ids at random "
              << scattered.memory_bytes() / k_many << "\n";
    EXPECT_LT(rising.memory_bytes() / k_many, 36U);
    EXPECT_LT(scattered.memory_bytes() / k_many, 52U);
}

TEST(FragmentShape, HeadersTakeWhatTheyNeed) {
    EXPECT_EQ(fragment_shape(1, 1, false).header_blocks, 1U);
    EXPECT_EQ(fragment_shape(512, 1, false).header_blocks, 1U) << "2 MiB: one block";
    EXPECT_EQ(fragment_shape(512, 1, false).total_units, 33U);
    EXPECT_EQ(fragment_shape(2048, 1, false).header_blocks, 3U);
    EXPECT_EQ(fragment_shape(16384, 1, false).header_blocks, 17U);
    FragmentShape const adopted = fragment_shape(16384, 2, true);
    EXPECT_EQ(adopted.data_start_block, 32U);
    EXPECT_EQ(adopted.total_units, 2 + 1024U);
}

}  // namespace
}  // namespace corelet
