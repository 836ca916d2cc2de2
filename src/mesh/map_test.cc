#include "mesh/map.h"

#include <set>

#include "base/checksum.h"
#include "base/prng.h"
#include "mesh/map.pb.h"
#include "mesh/map_codec.h"
#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Map rich_map() {
    Map map = with_pool(make_map(5), "ec:2+1");
    map = with_pool(map, "rep:3", Level::kZone, "second");
    map = with_corelet(map, make_corelet(9, "y/r/c"));
    map = after(map, CoreletDown{CoreletId(2), Incarnation(1)});
    map = after(map, CoreletReplaced{CoreletId(2), make_corelet(12)});
    const SlotTable& table = map.pools[0].current();
    return after(map, SlotsClean{map.pools[0].id, CoreletId(1), table.epoch(), table.hash()});
}

void expect_same(const Map& a, const Map& b) {
    EXPECT_EQ(a.mesh, b.mesh);
    EXPECT_EQ(a.epoch, b.epoch);
    EXPECT_EQ(a.next_pool, b.next_pool);
    EXPECT_EQ(a.unknown, b.unknown);
    EXPECT_EQ(a.corelets, b.corelets);
    ASSERT_EQ(a.pools.size(), b.pools.size());
    for (usize i = 0; i < a.pools.size(); ++i) {
        EXPECT_EQ(a.pools[i].id, b.pools[i].id);
        EXPECT_EQ(a.pools[i].spec, b.pools[i].spec);
        EXPECT_EQ(a.pools[i].clean, b.pools[i].clean);
        EXPECT_EQ(a.pools[i].move_wanted, b.pools[i].move_wanted);
        EXPECT_EQ(a.pools[i].unknown, b.pools[i].unknown);
        ASSERT_EQ(a.pools[i].tables.size(), b.pools[i].tables.size());
        for (usize t = 0; t < a.pools[i].tables.size(); ++t) {
            EXPECT_EQ(a.pools[i].tables[t]->epoch(), b.pools[i].tables[t]->epoch());
            EXPECT_EQ(a.pools[i].tables[t]->hash(), b.pools[i].tables[t]->hash());
        }
    }
}

// The envelope of map_codec.h around any payload.
std::vector<u8> sealed(const std::vector<u8>& payload) {
    auto const some = encode_outline(first_map(MeshId(1)));
    auto out = std::vector<u8>(some.begin(), some.begin() + 8);
    for (u32 word : {static_cast<u32>(payload.size()), crc32c(payload)}) {
        for (int i = 0; i < 4; ++i) out.push_back(static_cast<u8>(word >> 8 * i));
    }
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

TEST(Redundancy, TextRoundTrips) {
    for (const char* text : {"rep:1", "rep:3", "rep:9", "ec:2+0", "ec:4+2", "ec:16+8"}) {
        EXPECT_EQ(Redundancy::parse(text).value().to_string(), text);
    }
    for (const char* text :
         {"", "rep:0", "rep:10", "rep:", "rep:3x", "ec:4", "ec:1+2", "ec:17+1", "ec:4+9", "ec:+", "raid"}) {
        EXPECT_EQ(Redundancy::parse(text).error().code, Code::kInvalid) << text;
    }
}

TEST(MapCodec, RoundTrips) {
    Map const map = rich_map();
    auto const decoded = decode_map(encode_map(map));
    ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
    expect_same(map, *decoded);
    EXPECT_EQ(encode_map(*decoded), encode_map(map));
}

TEST(MapCodec, OutlineTakesTablesFromTheFinder) {
    Map const map = rich_map();
    auto const outline = encode_outline(map);
    EXPECT_LT(outline.size(), 2000u);
    EXPECT_EQ(decode_map(outline).error().code, Code::kUnknown);
    auto const decoded = decode_map(outline, [&](MapEpoch epoch, u64 hash) -> TablePtr {
        for (const Pool& pool : map.pools) {
            TablePtr const table = pool.table(epoch);
            if (table != nullptr && table->hash() == hash) return decode_table(encode_table(*table)).value();
        }
        return nullptr;
    });
    ASSERT_TRUE(decoded.has_value()) << decoded.error().to_string();
    expect_same(map, *decoded);
    auto const wrong = decode_map(outline, [&](MapEpoch, u64) { return map.pools[1].tables[0]; });
    EXPECT_EQ(wrong.error().code, Code::kInvalid);
}

TEST(MapCodec, KeepsFieldsOfNewerVersions) {
    Map map = rich_map();
    map.corelets[0].cordoned = true;
    map.unknown = std::string("\xF8\x06\x2A", 3);  // field 111, varint 42
    map.corelets[1].unknown = std::string("\xFA\x06\x02hi", 5);
    map.pools[0].unknown = std::string("\xF8\x06\x07", 3);
    Map decoded = decode_map(encode_map(map)).value();
    expect_same(map, decoded);
    decoded = after(decoded, CoreletDown{decoded.corelets[1].id, decoded.corelets[1].incarnation});
    EXPECT_EQ(decoded.corelets[1].unknown, map.corelets[1].unknown);
}

TEST(MapCodec, EveryFlippedBitIsNoticed) {
    auto const bytes = encode_outline(make_map(2));
    for (usize i = 0; i < bytes.size() * 8; ++i) {
        auto damaged = bytes;
        damaged[i / 8] ^= static_cast<u8>(1U << i % 8);
        EXPECT_FALSE(decode_map(damaged).has_value()) << i;
    }
    for (usize length = 0; length < bytes.size(); ++length) {
        EXPECT_FALSE(decode_map(Bytes(bytes).first(length)).has_value());
    }
}

// Bytes with a good checksum and nonsense in them must be refused, not believed.
TEST(MapCodec, NonsenseThatVerifiesIsRefused) {
    auto const refused = [](const Map& map) {
        auto const decoded = decode_map(encode_map(map));
        return !decoded && decoded.error().code == Code::kInvalid;
    };
    Map map = rich_map();
    map.corelets[0].id = CoreletId(99);
    EXPECT_TRUE(refused(map)) << "out of order";
    map = rich_map();
    map.corelets[0].role = static_cast<Role>(9);
    EXPECT_TRUE(refused(map));
    map = rich_map();
    map.corelets[0].location.zone = "a/b";
    EXPECT_TRUE(refused(map));
    map = rich_map();
    map.pools[1].spec.name = "main";
    EXPECT_TRUE(refused(map)) << "two of one name";
    map = rich_map();
    map.pools[0].spec.redundancy = {3, 3};
    EXPECT_TRUE(refused(map)) << "tables of another width";
    map = rich_map();
    std::swap(map.pools[0].tables.front(), map.pools[0].tables.back());
    ASSERT_GT(map.pools[0].tables.size(), 1u);
    EXPECT_TRUE(refused(map)) << "tables out of order";
    map = rich_map();
    map.pools[0].tables.clear();
    EXPECT_TRUE(refused(map));
    map = rich_map();
    map.epoch = MapEpoch(1);
    EXPECT_TRUE(refused(map)) << "tables from the future";
}

TEST(MapCodec, ATableMustHaveTheHashItClaims) {
    auto const bytes = encode_map(rich_map());
    pb::Map message;
    ASSERT_TRUE(message.ParseFromArray(bytes.data() + 16, static_cast<int>(bytes.size() - 16)));
    auto* table = message.mutable_pools(0)->mutable_tables(0);
    table->set_hash(table->hash() + 1);
    std::string const text = message.SerializeAsString();
    EXPECT_EQ(decode_map(sealed({text.begin(), text.end()})).error().code, Code::kInvalid);
}

TEST(MapCodec, RandomBytesNeverCrash) {
    Prng rng(17);
    auto const bytes = encode_map(rich_map());
    for (int round = 0; round < 2000; ++round) {
        // Damage the payload and seal it again, so that the parser sees it.
        auto damaged = std::vector<u8>(bytes.begin() + 16, bytes.end());
        for (u64 i = rng.between(1, 8); i > 0; --i)
            damaged[rng.below(damaged.size())] = static_cast<u8>(rng.next());
        if (rng.chance(1, 4)) damaged.resize(rng.below(damaged.size()));
        pb::Map message;
        if (!message.ParseFromArray(damaged.data(), static_cast<int>(damaged.size()))) continue;
        auto const decoded = decode_map(sealed(damaged));
        if (decoded) EXPECT_TRUE(check_map(*decoded).has_value());
    }
}

TEST(Map, AnswersForChunks) {
    Map map = all_clean(with_pool(make_map(4), "rep:2"));
    map = with_corelet(map, make_corelet(5, "z/r/c5"));
    const Pool& pool = map.pools[0];
    ASSERT_EQ(pool.tables.size(), 2u);
    u32 moving = 0;
    for (u64 seq = 0; seq < 500; ++seq) {
        ChunkId const chunk{SpaceId(3), seq};
        u32 const slot = pool.slot(chunk);
        std::set<CoreletId> anywhere;
        for (unsigned position = 0; position < 2; ++position) {
            auto const holders = pool.holders(chunk, position);
            anywhere.insert(holders.begin(), holders.end());
            ASSERT_GE(holders.size(), 1u);
            EXPECT_EQ(holders[0], pool.current().at(slot, position));
            if (holders.size() == 2) {
                EXPECT_EQ(holders[0], CoreletId(5));
                ++moving;
            }
        }
        EXPECT_EQ(pool.holders(chunk), std::vector<CoreletId>(anywhere.begin(), anywhere.end()));
    }
    EXPECT_GT(moving, 100u);  // a fifth of a thousand, more or less
    EXPECT_LT(moving, 300u);
}

TEST(Map, SlotsWithADownMemberAreNotInService) {
    Map const map = after(with_pool(make_map(6), "rep:3"), CoreletDown{CoreletId(2), Incarnation(1)});
    const Pool& pool = map.pools[0];
    u32 out_of_service = 0;
    for (u32 slot = 0; slot < pool.current().slots(); ++slot) {
        bool const has_it = pool.current().position_of(slot, CoreletId(2)).has_value();
        EXPECT_EQ(map.slot_in_service(pool, slot), !has_it);
        EXPECT_EQ(map.members_in_service(pool, slot), has_it ? 2u : 3u);
        out_of_service += has_it;
    }
    EXPECT_EQ(out_of_service, pool.current().slots() / 2);
}

TEST(PoolSpec, Defaults) {
    PoolSpec spec;
    spec.redundancy = {1, 2};
    EXPECT_EQ(spec.copies_min(), 2u);
    EXPECT_EQ(spec.put_min(), 2u);
    spec.redundancy = {1, 0};
    EXPECT_EQ(spec.copies_min(), 1u);
    EXPECT_EQ(spec.put_min(), 1u);
    spec.redundancy = {4, 2};
    EXPECT_EQ(spec.put_min(), 5u);
}

}  // namespace
}  // namespace corelet::mesh
