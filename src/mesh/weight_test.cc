#include "mesh/weight.h"

#include "mesh/map_codec.h"
#include "mesh/mesh_testing.h"
#include "mesh/strategy.h"

namespace corelet::mesh {
namespace {

using testing::after;
using testing::make_corelet;
using testing::with_pool;

TEST(Weight, GoesByCapacityAlsoWhereThatIsSmall) {
    EXPECT_EQ(default_weight(256 * k_mib) * 4, default_weight(1 * k_gib));
    EXPECT_EQ(default_weight(3 * k_gib) * 2, default_weight(6 * k_gib));
    EXPECT_EQ(default_weight(0), 1U);
    EXPECT_EQ(default_weight(256 * k_tib), k_weight_max);
    EXPECT_EQ(default_weight(4096 * k_tib), k_weight_max) << "bounded";
}

TEST(Weight, WhatAnEarlierVersionSaidMeansTheSameShare) {
    EXPECT_EQ(weight_from_gib(0, 4 * k_gib), 0U) << "holds nothing, and goes on so";
    EXPECT_EQ(weight_from_gib(4, 4 * k_gib + 300 * k_mib), default_weight(4 * k_gib + 300 * k_mib));
    EXPECT_EQ(weight_from_gib(1, 256 * k_mib), default_weight(256 * k_mib)) << "1 was the least there was";
    EXPECT_EQ(weight_from_gib(9, 4 * k_gib), default_weight(9 * k_gib)) << "as somebody had set it";
    EXPECT_EQ(weight_from_gib(k_weight_max, 0), k_weight_max);
}

// Three of 256 MiB, three of 512 and three of 1 GiB: that was one weight for all of them.
Map small_devices() {
    Map map = first_map(MeshId(5));
    for (u64 id = 1; id <= 9; ++id) {
        Corelet corelet = make_corelet(id);
        corelet.weight = 0;
        corelet.capacity_bytes = (256 * k_mib) << (id - 1) / 3;
        map = after(map, CoreletJoined{corelet});
        map = after(map, CoreletUp{CoreletId(id), Incarnation(1), {}});
    }
    return with_pool(map, "rep:2", Level::kCorelet);
}

TEST(Weight, ASmallDeviceGetsASmallPart) {
    Map const map = small_devices();
    const SlotTable& table = map.pools[0].current();
    u64 const places = u64{table.slots()} * table.width(), parts = 3 * (1 + 2 + 4);
    for (u64 id = 1; id <= 9; ++id) {
        u64 const ideal = places * (u64{1} << (id - 1) / 3) / parts;
        u64 const held = table.places_of(CoreletId(id)).size();
        EXPECT_LE(held > ideal ? held - ideal : ideal - held, 2U) << id << " has " << held << " of " << places;
    }
}

TEST(Weight, AMapOfDefaultsIsEncodedAsItEverWas) {
    Map map = small_devices();
    auto const again = decode_map(encode_map(map));
    ASSERT_TRUE(again.has_value()) << again.error().to_string();
    EXPECT_EQ(again->corelets, map.corelets);
    auto const plain = encode_map(map).size();
    map.corelets[0].weight += 1;  // no multiple of a GiB, and not its default
    EXPECT_GT(encode_map(map).size(), plain);
    auto const odd = decode_map(encode_map(map));
    ASSERT_TRUE(odd.has_value());
    EXPECT_EQ(odd->corelets, map.corelets);
}

}  // namespace
}  // namespace corelet::mesh
