// The bytes of the map, of a slot table and of a heartbeat, for ever (docs/format/map.md).
#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "mesh/heartbeat.h"
#include "mesh/map_codec.h"

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
        corelet.weight = 4;
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
    constexpr std::string_view k_whole =
        "434c4d5001000000 620100003d411d91 0908070605040302 0110051a35091100 0000000000001003 1a0d756e69783a2f "
        "72756e2f63313722 027a312a02723232 0363313738014002 4801500458808080 80101a4209220000 000000000010031a "
        "0d756e69783a2f72 756e2f6333342202 7a312a0272323203 6333343801400248 0150045880808080 10620b0920000000 "
        "00000000100922d7 01080112046d6169 6e18012001300138 02420862616c616e 6365644880808004 50035aa401080411 "
        "3f99d6c64b6c3d81 184020022a101100 0000000000002200 0000000000003280 0101020102010201 0201020102010201 "
        "0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010201 "
        "0201020102010201 0201020102010201 0201020102010201 0201020102010201 0201020102010001 0001000100010001 "
        "0001000100010001 0001000100010001 00620b0911000000 0000000010046801 2802";
    constexpr std::string_view k_outline =
        "434c4d5001000000 cb000000d010537b 0908070605040302 0110051a35091100 0000000000001003 1a0d756e69783a2f "
        "72756e2f63313722 027a312a02723232 0363313738014002 4801500458808080 80101a4209220000 000000000010031a "
        "0d756e69783a2f72 756e2f6333342202 7a312a0272323203 6333343801400248 0150045880808080 10620b0920000000 "
        "0000000010092241 080112046d61696e 1801200130013802 420862616c616e63 6564488080800450 035a0f0804113f99 "
        "d6c64b6c3d811840 2002620b09110000 0000000000100468 012802";
    Map const map = some_map();
    EXPECT_EQ(golden(encode_map(map)), k_whole);
    EXPECT_EQ(golden(encode_outline(map)), k_outline);
    auto const find = [](MapEpoch, u64) { return some_table(); };
    for (std::string_view bytes : {k_whole, k_outline}) {
        auto const read = decode_map(from_golden(bytes), find);
        ASSERT_TRUE(read) << read.error().to_string();
        EXPECT_EQ(read->corelets, map.corelets);
        EXPECT_EQ(read->pools[0].spec, map.pools[0].spec);
        EXPECT_EQ(golden(encode_map(*read)), k_whole);
    }
}

TEST(MapGolden, Heartbeat) {
    constexpr std::string_view k_bytes =
        "0908070605040302 0111110000000000 00001a0e08031138 3736353433323118 e8072005280c3001 3a1b092200000000 "
        "000000120d080111 4847464544434241 184d18de02";
    Heartbeat const beat{MeshId(0x0102030405060708),
                         CoreletId(0x11),
                         {Incarnation(3), 0x3132333435363738, 1000},
                         MapEpoch(5),
                         12,
                         true,
                         {{CoreletId(0x22), {Incarnation(1), 0x4142434445464748, 77}, 350}}};
    EXPECT_EQ(golden(encode_heartbeat(beat)), k_bytes);
    auto const read = decode_heartbeat(from_golden(k_bytes));
    ASSERT_TRUE(read);
    EXPECT_EQ(*read, beat);
}

}  // namespace
}  // namespace corelet::mesh
