// The bytes of the map, of a slot table and of a gossip message, for ever (docs/format/map.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "mesh/gossip_message.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.h"
#include "mesh/mesh_testing.h"
#include "mesh/weight.h"

namespace corelet::mesh {
namespace {

using corelet::testing::from_golden;
using corelet::testing::golden;

TablePtr some_table() {
    std::vector<CoreletId> cells(64 * 2);
    for (usize i = 0; i < cells.size(); ++i)
        cells[i] = i % 2 == 0 ? CoreletId(0x11) : CoreletId(i < 100 ? 0x22 : 0);
    return SlotTable::make(MapEpoch(4), 64, 2, cells).value();
}

Map some_map() {
    Map map;
    map.mesh = MeshId(0x0102030405060708);
    map.epoch = MapEpoch(5);
    map.next_pool = PoolId(2);
    for (u64 id : {0x11, 0x22}) {
        Corelet corelet;
        corelet.id = CoreletId(id);
        corelet.incarnation = Incarnation(3);
        corelet.addresses = {"unix:/run/c" + std::to_string(id)};
        corelet.location = {"z1", "r2", "c" + std::to_string(id)};
        corelet.presence = Presence::kUp;
        corelet.weight = default_weight(4 * k_gib);  // 4 on the wire
        corelet.capacity_bytes = 4 * k_gib;
        if (id == 0x22) corelet.former = {{CoreletId(0x20), Incarnation(9)}};
        map.corelets.push_back(corelet);
    }
    Pool pool;
    pool.id = PoolId(1);
    pool.spec.name = "main";
    pool.spec.redundancy.k = 1;
    pool.spec.redundancy.m = 1;
    pool.spec.level = Level::kCorelet;
    pool.spec.min_copies = 1;
    pool.spec.write_quorum = 2;
    pool.spec.locality = 3;
    pool.tables = {some_table()};
    pool.clean = {{CoreletId(0x11), MapEpoch(4)}};
    pool.move_wanted = true;
    map.pools = {pool};
    return map;
}

TEST(MapGolden, Table) {
    constexpr std::string_view k_bytes =
        "434c4d5001000000 a4000000f5d097fa 0804113f99d6c64b 6c3d81184020022a 1011000000000000 0022000000000000 "
        "0032800101020102 0102010201020102 0102010201020102 0102010201020102 0102010201020102 0102010201020102 "
        "0102010201020102 0102010201020102 0102010201020102 0102010201020102 0102010201020102 0102010201020102 "
        "0102010201020102 0100010001000100 0100010001000100 0100010001000100 01000100";
    EXPECT_EQ(golden(encode_table(*some_table())), k_bytes);
    auto const read = decode_table(from_golden(k_bytes));
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ((*read)->hash(), some_table()->hash());
    EXPECT_EQ((*read)->indexes(), some_table()->indexes());
}

TEST(MapGolden, WholeAndOutline) {
    constexpr std::string_view k_outline =
        "434c4d5001000000 cb000000d010537b 0908070605040302 0110051a35091100 0000000000001003 1a0d756e69783a2f "
        "72756e2f63313722 027a312a02723232 0363313738014002 4801500458808080 80101a4209220000 000000000010031a "
        "0d756e69783a2f72 756e2f6333342202 7a312a0272323203 6333343801400248 0150045880808080 10620b0920000000 "
        "0000000010092241 080112046d61696e 1801200130013802 420862616c616e63 6564488080800450 035a0f0804113f99 "
        "d6c64b6c3d811840 2002620b09110000 0000000000100468 012802";
    Map const map = some_map();
    EXPECT_EQ(golden(encode_map(map)), testing::k_golden_map);
    EXPECT_EQ(golden(encode_outline(map)), k_outline);
    auto const find = [](MapEpoch, u64) { return some_table(); };
    for (std::string_view bytes : {testing::k_golden_map, k_outline}) {
        auto const read = decode_map(from_golden(bytes), find);
        ASSERT_TRUE(read) << read.error().to_string();
        EXPECT_EQ(read->corelets, map.corelets);
        EXPECT_EQ(read->pools[0].spec, map.pools[0].spec);
        EXPECT_EQ(golden(encode_map(*read)), testing::k_golden_map);
    }
}

// The map after it: one is down, its last places are another's, and nobody has reported yet.
Map later_map() {
    Map map = some_map();
    map.epoch = MapEpoch(6);
    map.corelets[1].presence = Presence::kDown;
    std::vector<CoreletId> cells;
    for (u32 slot = 0; slot < 64; ++slot) {
        auto row = some_table()->row(slot);
        if (slot >= 60) row[1] = CoreletId(0x33);
        cells.insert(cells.end(), row.begin(), row.end());
    }
    map.pools[0].tables.insert(map.pools[0].tables.begin(), SlotTable::make(map.epoch, 64, 2, cells).value());
    map.pools[0].clean.clear();
    return map;
}

TEST(MapGolden, Delta) {
    constexpr std::string_view k_change =
        "434c4d4401000000 d90000003ee6029a 0908070605040302 0110051976246862 5bc0f7de200629f3 c1428f08e29afe32 "
        "4209220000000000 000010031a0d756e 69783a2f72756e2f 63333422027a312a 0272323203633334 3801400348015004 "
        "588080808010620b 0920000000000000 00100942720a4508 0112046d61696e18 0120013001380242 0862616c616e6365 "
        "6448808080045003 5a0f080611f789d6 5199239808184020 025a0f0804113f99 d6c64b6c3d811840 2002680112270806 "
        "1004193f99d6c64b 6c3d812040280232 0833000000000000 004204790101014a 0401010101180150 02";
    constexpr std::string_view k_from_nothing =
        "434c4d4401000000 400100007a8f3484 0908070605040302 01200629f3c1428f 08e29afe32350911 0000000000000010 "
        "031a0d756e69783a 2f72756e2f633137 22027a312a027232 3203633137380140 0248015004588080 8080103242092200 "
        "0000000000001003 1a0d756e69783a2f 72756e2f63333422 027a312a02723232 0363333438014003 4801500458808080 "
        "8010620b09200000 0000000000100942 ac010a4508011204 6d61696e18012001 3001380242086261 6c616e6365644880 "
        "80800450035a0f08 0611f789d6519923 9808184020025a0f 0804113f99d6c64b 6c3d811840200268 01123a0804204028 "
        "0232101100000000 0000002200000000 0000003a20999999 9999999999999999 9999999999999999 9999999999991111 "
        "1111111111122708 061004193f99d6c6 4b6c3d8120402802 3208330000000000 0000420479010101 4a04010101015002";
    EXPECT_EQ(golden(make_delta(some_map(), later_map())), k_change);
    EXPECT_EQ(golden(make_delta(Map{}, later_map())), k_from_nothing);
    auto const changed = apply_delta(some_map(), from_golden(k_change));
    auto const made = apply_delta(Map{}, from_golden(k_from_nothing));
    ASSERT_TRUE(changed && made);
    EXPECT_EQ(encode_map(*changed), encode_map(later_map()));
    EXPECT_EQ(encode_map(*made), encode_map(later_map()));
}

TEST(MapGolden, GossipWithNews) {
    constexpr std::string_view k_bytes =
        "0908070605040302 0111110000000000 00001a0e08031138 3736353433323118 e8072005280c4007 5203010203520104";
    GossipMessage message{MeshId(0x0102030405060708),
                          CoreletId(0x11),
                          {Incarnation(3), 0x3132333435363738, 1000},
                          MapEpoch(5),
                          12,
                          false,
                          7,
                          {},
                          {},
                          {{1, 2, 3}, {4}}};
    EXPECT_EQ(golden(encode_gossip(message)), k_bytes);
    auto const read = decode_gossip(from_golden(k_bytes));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, message);
}

TEST(MapGolden, Gossip) {
    constexpr std::string_view k_bytes =
        "0908070605040302 0111110000000000 00001a0e08031138 3736353433323118 e8072005280c3001 3a26092200000000 "
        "000000120d080111 4847464544434241 184d18de02214400 0000000000002814 40074a0833000000 00000000";
    GossipMessage const message{
        MeshId(0x0102030405060708),
        CoreletId(0x11),
        {Incarnation(3), 0x3132333435363738, 1000},
        MapEpoch(5),
        12,
        true,
        7,
        {CoreletId(0x33)},
        {{CoreletId(0x22), {Incarnation(1), 0x4142434445464748, 77}, 350, CoreletId(0x44), 20}}};
    EXPECT_EQ(golden(encode_gossip(message)), k_bytes);
    auto const read = decode_gossip(from_golden(k_bytes));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, message);
}

// What went as a heartbeat to everybody before there were probes: as a message it asks nothing and answers nothing.
TEST(MapGolden, GossipOfTheFirstForm) {
    auto const read = decode_gossip(from_golden(
        "0908070605040302 0111110000000000 00001a0e08031138 3736353433323118 e8072005280c3001 3a1b092200000000 "
        "000000120d080111 4847464544434241 184d18de02"));
    ASSERT_TRUE(read);
    GossipMessage const message{MeshId(0x0102030405060708),
                                CoreletId(0x11),
                                {Incarnation(3), 0x3132333435363738, 1000},
                                MapEpoch(5),
                                12,
                                true,
                                0,
                                {},
                                {{CoreletId(0x22), {Incarnation(1), 0x4142434445464748, 77}, 350, {}, 0}}};
    EXPECT_EQ(*read, message);
}

}  // namespace
}  // namespace corelet::mesh
