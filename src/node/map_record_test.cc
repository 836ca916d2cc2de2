#include "node/map_record.h"

#include <gtest/gtest.h>

#include "base/golden_testing.h"
#include "base/prng.h"
#include "mesh/map_codec.h"
#include "mesh/map_delta.h"
#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using mesh::testing::after;
using mesh::testing::make_map;
using mesh::testing::random_event;
using mesh::testing::with_impatient_pool;
using mesh::testing::with_pool;

constexpr MapWriteLimits k_parted{0, 2 * k_kib};

// The catalog's keys, as far as they matter here.
struct Shelf {
    std::map<std::string, std::string> items;
    mesh::Map map;
    usize largest = 0;  // of the values, and of what was written together

    explicit Shelf(mesh::Map first) : map(std::move(first)) { items[k_map_key] = whole(map); }
    static std::string whole(const mesh::Map& map) {
        auto const bytes = mesh::encode_map(map);
        return std::string(bytes.begin(), bytes.end());
    }
    [[nodiscard]] MapRecord record() const { return decode_map_record(items.at(k_map_key), mesh::Map{}).value(); }
    [[nodiscard]] Result<mesh::Map> read(const mesh::Map& known, usize* looked_at = nullptr) const {
        TRY(MapRecord const record, decode_map_record(items.at(k_map_key), known));
        return assemble_map(record, known, [&](const std::string& key) -> const std::string* {
            auto const found = items.find(key);
            if (found == items.end()) return nullptr;
            if (looked_at != nullptr) *looked_at += found->second.size();
            return &found->second;
        });
    }
    void write(const mesh::Map& next, const MapWriteLimits& limits) {
        auto plan = plan_map_write(record(), map, next, limits);
        ASSERT_TRUE(plan) << plan.error().to_string();
        usize together = plan->value.size();
        for (auto& [key, value] : plan->before) {
            largest = std::max(largest, value.size());
            items.emplace(key, value);
        }
        for (auto& [key, value] : plan->with) {
            EXPECT_FALSE(items.contains(key)) << key;
            together += value.size();
            items[key] = value;
        }
        largest = std::max(largest, together);
        items[k_map_key] = plan->value;
        map = next;
    }
    usize sweep() {
        std::vector<std::string> keys;
        for (auto const& [key, value] : items) keys.push_back(key);
        auto const unused = pieces_unused(record(), keys);
        for (const std::string& key : unused) items.erase(key);
        return unused.size();
    }
};

void expect_reads(const Shelf& shelf, const mesh::Map& known) {
    auto const read = shelf.read(known);
    ASSERT_TRUE(read) << read.error().to_string();
    EXPECT_EQ(mesh::encode_map(*read), mesh::encode_map(shelf.map));
}

TEST(MapRecord, AnyReaderGetsTheMapWhateverItKnows) {
    for (u64 seed = 1; seed <= 3; ++seed) {
        Prng rng(seed);
        mesh::Map map = with_impatient_pool(make_map(6), "ec:2+1", mesh::Level::kCorelet);
        Shelf shelf(map);
        std::vector<mesh::Map> maps{map};
        u64 next = 100;
        while (maps.size() < 150 && map.corelets.size() > 1) {
            auto changed = mesh::apply_event(map, random_event(map, rng, next));
            if (!changed || changed->epoch == map.epoch) continue;
            map = *std::move(changed);
            maps.push_back(map);
            // Now and then it lies whole again.
            shelf.write(map, rng.chance(1, 30) ? MapWriteLimits{} : k_parted);
            if (rng.chance(1, 5)) (void)shelf.sweep();
            expect_reads(shelf, mesh::Map{});
            expect_reads(shelf, map);
            expect_reads(shelf, maps[rng.below(maps.size())]);
        }
        EXPECT_GT(maps.size(), 60u);
        EXPECT_LT(shelf.items.size(), 100u) << "what is not used goes";
    }
}

TEST(MapRecord, AChangeIsWrittenAndReadAsWhatChanged) {
    mesh::Map map = with_pool(make_map(60), "rep:3");
    Shelf shelf(map);
    mesh::Map const draining = after(map, mesh::DutyChanged{CoreletId(7), mesh::Duty::kDrain});
    shelf.write(draining, {1024, 4 * k_kib});
    EXPECT_GT(std::get<MapHead>(shelf.record()).base.size(), 3u);
    mesh::Map const down = after(draining, mesh::CoreletDown{CoreletId(5), Incarnation(1)});
    auto const plan = plan_map_write(shelf.record(), draining, down, {1024, 4 * k_kib}).value();
    EXPECT_TRUE(plan.before.empty());
    ASSERT_EQ(plan.with.size(), 1u);
    EXPECT_LT(plan.with[0].second.size() + plan.value.size(), 1000u);
    shelf.write(down, {1024, 4 * k_kib});
    usize looked_at = 0;
    EXPECT_TRUE(shelf.read(draining, &looked_at));
    EXPECT_EQ(looked_at, plan.with[0].second.size());
    looked_at = 0;
    EXPECT_TRUE(shelf.read(down, &looked_at));
    EXPECT_EQ(looked_at, 0u);
    EXPECT_TRUE(shelf.read(map, &looked_at));
    EXPECT_GT(looked_at, 10'000u) << "from before its base: all of it";
}

TEST(MapRecord, NoValueAndNothingWrittenTogetherIsLarge) {
    // The hundreds of corelets that make a map of a megabyte.
    mesh::Map map = with_pool(make_map(300), "ec:10+4", mesh::Level::kCorelet);
    map = with_pool(map, "ec:10+4", mesh::Level::kCorelet, "second");
    Shelf shelf(map);
    for (int i = 0; i < 6; ++i) {
        map = after(map, mesh::DutyChanged{CoreletId(7), i % 2 == 0 ? mesh::Duty::kDrain : mesh::Duty::kServe});
        shelf.write(map, {});
    }
    EXPECT_GT(mesh::encode_map(map).size(), 800'000u);
    EXPECT_LE(shelf.largest, 300 * k_kib);
    expect_reads(shelf, mesh::Map{});
}

TEST(MapRecord, AnotherMapOfTheSameEpochIsNoBeginning) {
    mesh::Map const first = with_pool(make_map(6), "rep:3");
    Shelf shelf(first);
    mesh::Map const drained = after(first, mesh::DutyChanged{CoreletId(2), mesh::Duty::kDrain});
    shelf.write(drained, k_parted);
    shelf.write(after(drained, mesh::CoreletDown{CoreletId(3), Incarnation(1)}), k_parted);
    mesh::Map const other = after(first, mesh::DutyChanged{CoreletId(4), mesh::Duty::kDrain});
    ASSERT_EQ(other.epoch, drained.epoch);
    expect_reads(shelf, other);
}

TEST(MapRecord, WhatIsMissingOrSpoilt) {
    mesh::Map const first = with_pool(make_map(6), "rep:3");
    Shelf shelf(first);
    mesh::Map const drained = after(first, mesh::DutyChanged{CoreletId(2), mesh::Duty::kDrain});
    shelf.write(drained, k_parted);
    Shelf missing = shelf;
    missing.items.erase(std::get<MapHead>(shelf.record()).base[0].key);
    EXPECT_EQ(missing.read(first).error().code, Code::kUnknown);
    EXPECT_TRUE(missing.read(drained)) << "who has that map needs no pieces";
    Shelf spoilt = shelf;
    spoilt.items[std::get<MapHead>(shelf.record()).base[0].key][20] ^= 1;
    EXPECT_EQ(spoilt.read(first).error().code, Code::kCorrupt);
    MapHead head = std::get<MapHead>(shelf.record());
    head.hash ^= 1;
    Shelf wrong = shelf;
    wrong.items[k_map_key] = encode_map_head(head);
    EXPECT_EQ(wrong.read(first).error().code, Code::kInvalid);
}

TEST(MapRecord, HeadsThatAreNoneAreRefused) {
    MapHead const good{MeshId(1), MapEpoch(9), 7, {{"map/a", 10, MapEpoch(7)}}, {{"map/b", 10, MapEpoch(9)}}};
    auto const refused = [&](auto spoil) {
        MapHead head = good;
        spoil(head);
        return !decode_map_record(encode_map_head(head), mesh::Map{});
    };
    EXPECT_EQ(std::get<MapHead>(decode_map_record(encode_map_head(good), mesh::Map{}).value()), good);
    EXPECT_TRUE(refused([](MapHead& h) { h.base.clear(); }));
    EXPECT_TRUE(refused([](MapHead& h) { h.epoch = MapEpoch(10); })) << "the last piece leads elsewhere";
    EXPECT_TRUE(refused([](MapHead& h) { h.deltas[0].epoch = MapEpoch(7); }));
    EXPECT_TRUE(refused([](MapHead& h) { h.base[0].key = "streams/1"; }));
    EXPECT_TRUE(refused([](MapHead& h) { h.deltas.resize(k_map_chain_deltas_max + 1, h.deltas[0]); }));
}

TEST(MapRecord, AMapTooLargeForAMeshIsRefused) {
    mesh::Map map = make_map(2);
    for (u64 i = 0; i < 16'000; ++i) {
        mesh::Corelet corelet = mesh::testing::make_corelet(100 + i);
        corelet.addresses = {std::string(120, 'a')};
        map.corelets.push_back(corelet);
    }
    mesh::Map const next = after(map, mesh::DutyChanged{CoreletId(2), mesh::Duty::kDrain});
    EXPECT_EQ(plan_map_write(MapRecord(map), map, next).error().code, Code::kNoSpace);
}

// For ever (docs/format/map.md).
TEST(MapRecordGolden, Head) {
    constexpr std::string_view k_bytes =
        "434c4d4801000000 2f0000008e67d849 0908070605040302 0110091918171615 14131211220c0a05 6d61702f6110ac02 "
        "18072a0b0a056d61 702f6210141809";
    MapHead const head{MeshId(0x0102030405060708),
                       MapEpoch(9),
                       0x1112131415161718,
                       {{"map/a", 300, MapEpoch(7)}},
                       {{"map/b", 20, MapEpoch(9)}}};
    EXPECT_EQ(testing::golden(as_bytes(encode_map_head(head))), k_bytes);
    auto const bytes = testing::from_golden(k_bytes);
    EXPECT_EQ(std::get<MapHead>(decode_map_record(as_text(bytes), mesh::Map{}).value()), head);
}

// As the first version left it: whole under its key.
TEST(MapRecordGolden, WholeMapsOfTheFirstForm) {
    auto const bytes = testing::from_golden(mesh::testing::k_golden_map);
    auto const record = decode_map_record(as_text(bytes), mesh::Map{});
    ASSERT_TRUE(record) << record.error().to_string();
    auto const map = assemble_map(*record, mesh::Map{}, [](const std::string&) { return nullptr; });
    ASSERT_TRUE(map);
    EXPECT_EQ(map->epoch, MapEpoch(5));
    EXPECT_EQ(map->corelets.size(), 2u);
    EXPECT_EQ(map->pools.at(0).current().slots(), 64u);
}

}  // namespace
}  // namespace corelet
