#include "mesh/map_delta.h"

#include "base/checksum.h"
#include "base/prng.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.pb.h"
#include "mesh/map_history.h"
#include "mesh/mesh_testing.h"

namespace corelet::mesh {
namespace {

using namespace testing;

Map two_pools() {
    Map const map = with_impatient_pool(make_map(6, [](u64 id) { return zone_of(id, 3); }), "ec:2+1", Level::kZone);
    return with_pool(map, "rep:2", Level::kCorelet, "second");
}

// What random_event knows, and what befalls pools, weights and locations.
MapEvent any_event(const Map& map, Prng& rng, u64& next) {
    CoreletId const id = map.corelets[rng.below(map.corelets.size())].id;
    PoolSpec spec;
    spec.name = "p" + std::to_string(next);
    switch (rng.below(12)) {
        case 0:
            ++next;
            return PoolCreated{spec};
        case 1:
            return PoolRemoved{map.pools.size() > 1 ? map.pools[1 + rng.below(map.pools.size() - 1)].id
                                                    : PoolId(77)};
        case 2:
            return WeightChanged{id, static_cast<u32>(rng.between(10, 300)), 100 * k_gib};
        case 3:
            return LocationChanged{id, Location::parse("z" + std::to_string(rng.below(3)) + "/r/moved").value()};
        default:
            return random_event(map, rng, next);
    }
}

// Every map of a random history, the first one included.
std::vector<Map> history(u64 seed, int steps) {
    Prng rng(seed);
    std::vector<Map> out{two_pools()};
    u64 next = 100;
    for (int step = 0; step < steps && out.back().corelets.size() > 1; ++step) {
        auto changed = apply_event(out.back(), any_event(out.back(), rng, next));
        if (changed && changed->epoch > out.back().epoch) out.push_back(*std::move(changed));
    }
    return out;
}

void expect_leads(const Map& from, const Map& to) {
    auto const delta = make_delta(from, to);
    auto const made = apply_delta(from, delta);
    ASSERT_TRUE(made) << made.error().to_string() << " from " << from.epoch.v << " to " << to.epoch.v;
    EXPECT_EQ(encode_map(*made), encode_map(to)) << "from " << from.epoch.v << " to " << to.epoch.v;
    EXPECT_EQ(delta_span(delta).value(), (DeltaSpan{from.epoch, to.epoch}));
}

TEST(MapDelta, LeadsFromAnyMapToAnyLaterOne) {
    for (u64 seed = 1; seed <= 4; ++seed) {
        auto const maps = history(seed, 150);
        ASSERT_GT(maps.size(), 40u);
        Prng rng(seed);
        for (usize i = 1; i < maps.size(); ++i) {
            expect_leads(maps[i - 1], maps[i]);
            expect_leads(maps[rng.below(i)], maps[i]);
        }
        expect_leads(Map{}, maps.back());
        expect_leads(maps.front(), maps.back());
    }
}

TEST(MapDelta, MostEventsTakeSomeHundredBytes) {
    Map const map = all_clean(with_pool(make_map(100), "rep:3"));
    usize const whole = encode_map(map).size();
    EXPECT_GT(whole, 30'000u);
    Map const down = after(map, CoreletDown{CoreletId(7), Incarnation(1)});
    EXPECT_LT(make_delta(map, down).size(), 200u);
    Map const out = after(down, CoreletOut{CoreletId(7), true});
    EXPECT_LT(make_delta(down, out).size(), 1600u) << "a hundredth of the cells changes";
    const SlotTable& table = out.pools[0].current();
    Map const clean = after(out, SlotsClean{out.pools[0].id, CoreletId(8), table.epoch(), table.hash()});
    EXPECT_LT(make_delta(out, clean).size(), 250u);
}

TEST(MapDelta, TheWholeMapIsShorterThisWay) {
    auto const maps = history(9, 60);
    EXPECT_LT(make_delta(Map{}, maps.back()).size(), encode_map(maps.back()).size());
}

TEST(MapDelta, IsAppliedToNoOtherMap) {
    auto const maps = history(3, 30);
    auto const delta = make_delta(maps[4], maps[5]);
    EXPECT_EQ(apply_delta(maps[3], delta).error().code, Code::kStaleMap);
    EXPECT_EQ(apply_delta(maps[5], delta).error().code, Code::kStaleMap);
    EXPECT_EQ(apply_delta(Map{}, delta).error().code, Code::kStaleMap);
    Map other = maps[4];
    other.corelets[0].weight += 1;
    EXPECT_EQ(apply_delta(other, delta).error().code, Code::kStaleMap) << "the same epoch, something else in it";
}

TEST(MapDelta, EveryFlippedBitIsNoticed) {
    Map const map = two_pools();
    auto const bytes = make_delta(map, after(map, CoreletDown{CoreletId(2), Incarnation(1)}));
    for (usize bit = 0; bit < bytes.size() * 8; ++bit) {
        auto damaged = bytes;
        damaged[bit / 8] ^= static_cast<u8>(1U << bit % 8);
        EXPECT_FALSE(apply_delta(map, damaged)) << bit;
    }
    for (usize size = 0; size < bytes.size(); ++size) EXPECT_FALSE(apply_delta(map, Bytes(bytes).first(size)));
}

// The envelope again around a changed payload.
std::vector<u8> resealed(const std::vector<u8>& bytes, const pb::MapDelta& message) {
    std::string const payload = message.SerializeAsString();
    std::vector<u8> out(bytes.begin(), bytes.begin() + 8);
    for (u32 word : {static_cast<u32>(payload.size()), crc32c(as_bytes(payload))})
        for (int i = 0; i < 4; ++i) out.push_back(static_cast<u8>(word >> 8 * i));
    out.insert(out.end(), payload.begin(), payload.end());
    return out;
}

TEST(MapDelta, WhatItMakesIsHeldAgainstTheMapItNames) {
    Map const map = all_clean(with_pool(make_map(6), "rep:3"));
    Map const to = after(map, CoreletOut{CoreletId(3), false});
    auto const bytes = make_delta(map, to);
    pb::MapDelta message;
    ASSERT_TRUE(message.ParseFromArray(bytes.data() + 16, static_cast<int>(bytes.size() - 16)));
    EXPECT_TRUE(apply_delta(map, resealed(bytes, message)));
    auto const refused = [&](auto spoil) {
        pb::MapDelta spoilt = message;
        spoil(spoilt);
        auto const made = apply_delta(map, resealed(bytes, spoilt));
        return !made && made.error().code == Code::kInvalid;
    };
    EXPECT_TRUE(refused([](auto& m) { m.mutable_corelets(0)->set_weight(7); }));
    EXPECT_TRUE(refused([](auto& m) { m.clear_corelets(); }));
    EXPECT_TRUE(refused([](auto& m) { m.add_corelets_gone(5); }));
    EXPECT_TRUE(refused([](auto& m) { m.set_next_pool(9); }));
    EXPECT_TRUE(refused([](auto& m) { m.set_mesh(9); }));
    EXPECT_TRUE(refused([](auto& m) { m.set_to_epoch(m.from_epoch()); }));
    EXPECT_TRUE(refused([](auto& m) { m.clear_pools(); }));
    EXPECT_TRUE(refused([](auto& m) { m.mutable_pools(0)->mutable_tables(0)->set_base_hash(1); }));
    EXPECT_TRUE(refused([](auto& m) { m.mutable_pools(0)->mutable_tables(0)->set_gaps(0, 1); })) << "another table";
    EXPECT_TRUE(refused([](auto& m) { *m.add_corelets() = m.corelets(0); })) << "out of order";
}

// A few bytes that describe very large tables.
TEST(MapDelta, RefusesTablesBeyondItsBound) {
    Map const map = two_pools();
    auto const bytes = make_delta(map, after(map, CoreletDown{CoreletId(2), Incarnation(1)}));
    pb::MapDelta message;
    ASSERT_TRUE(message.ParseFromArray(bytes.data() + 16, static_cast<int>(bytes.size() - 16)));
    for (u32 pool = 1; pool <= 4; ++pool) {
        auto* const told = message.add_pools();
        told->mutable_pool()->set_id(pool);
        for (int i = 0; i < 8; ++i) {
            auto* const table = told->add_tables();
            table->set_epoch(5);
            table->set_slots(k_slots_max);
            table->set_width(k_width_max);
        }
    }
    EXPECT_EQ(apply_delta(map, resealed(bytes, message)).error().code, Code::kInvalid);
}

TEST(MapDelta, KeepsFieldsOfNewerVersions) {
    Map from = two_pools();
    from.unknown = std::string("\xF8\x06\x2A", 3);  // field 111, varint 42
    from.corelets[1].unknown = std::string("\xFA\x06\x02hi", 5);
    from.pools[0].unknown = std::string("\xF8\x06\x07", 3);
    Map to = after(from, DutyChanged{from.corelets[1].id, Duty::kDrain});
    to.corelets[1].unknown = std::string("\xFA\x06\x02ho", 5);
    expect_leads(from, to);
    expect_leads(Map{}, to);
}

TEST(MapHistory, LeadsFromEachMapItKeepsToThePresentOne) {
    auto const maps = history(5, 80);
    MapHistory kept;
    kept.advance(Map{}, maps[0]);
    EXPECT_EQ(kept.size(), 0u) << "from nothing everything is news";
    for (usize i = 1; i < maps.size(); ++i) kept.advance(maps[i - 1], maps[i]);
    usize const first = maps.size() - 1 - kept.size();
    for (usize i = first; i + 1 < maps.size(); ++i) {
        Map map = maps[i];
        for (const auto* step : kept.since(map.epoch)) map = apply_delta(map, step->delta).value();
        EXPECT_EQ(encode_map(map), encode_map(maps.back()));
    }
    EXPECT_TRUE(kept.since(maps.back().epoch).empty());
    EXPECT_TRUE(kept.since(MapEpoch(1)).empty());
}

TEST(MapHistory, IsBounded) {
    Map map = make_map(5);
    MapHistory kept;
    for (int i = 0; i < 200; ++i) {
        Map const next = after(map, DutyChanged{CoreletId(1), i % 2 == 0 ? Duty::kDrain : Duty::kServe});
        kept.advance(map, next);
        map = next;
    }
    EXPECT_EQ(kept.size(), MapHistory::k_deltas_max);
    Map const later = after(map, CoreletDown{CoreletId(1), Incarnation(1)});
    kept.advance(map, later, std::vector<u8>(MapHistory::k_bytes_max - 1000));
    EXPECT_LE(kept.bytes(), MapHistory::k_bytes_max);
    EXPECT_LT(kept.size(), MapHistory::k_deltas_max) << "the oldest make room";
    EXPECT_GT(kept.size(), 1u);
    kept.advance(later, after(later, CoreletUp{CoreletId(1), Incarnation(1), {}}),
                 std::vector<u8>(MapHistory::k_bytes_max + 1));
    EXPECT_EQ(kept.size(), 0u) << "one alone may be too large";
    EXPECT_EQ(kept.bytes(), 0u);
}

TEST(MapHistory, TellsTheLastOnesThatAreSmall) {
    Map map = make_map(3);
    MapHistory kept;
    for (usize bytes : {100, 2000, 50, 60, 70}) {
        Map const next = after(
            map, DutyChanged{CoreletId(1), map.corelets[0].duty == Duty::kServe ? Duty::kDrain : Duty::kServe});
        kept.advance(map, next, std::vector<u8>(bytes));
        map = next;
    }
    auto const sizes = [&](usize count, usize each) {
        std::vector<usize> out;
        for (const auto* step : kept.last_small(count, each)) out.push_back(step->delta.size());
        return out;
    };
    EXPECT_EQ(sizes(8, 900), (std::vector<usize>{50, 60, 70}));
    EXPECT_EQ(sizes(2, 900), (std::vector<usize>{60, 70}));
    EXPECT_EQ(sizes(8, 60), (std::vector<usize>{}));
}

}  // namespace
}  // namespace corelet::mesh
