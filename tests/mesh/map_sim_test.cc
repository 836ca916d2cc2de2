// How the map reaches a corelet that cannot reach the catalog: as news with gossip, or fetched from a peer.
#include <gtest/gtest.h>

#include "base/fault_point.h"
#include "mesh/map_codec.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// Nine corelets, one of which reaches none of the voters, and through nobody.
struct CutOff {
    FaultPoints points{Prng(1)};
    sim::World world;
    SimMesh mesh;
    u32 cut = 0;
    std::vector<u32> voting, rest;

    explicit CutOff(u64 seed) : world(seed), mesh(world, nine()) {
        EXPECT_TRUE(mesh.up()) << why(world);
        auto const voters = mesh.node(0)->services().catalog->voters();
        for (u32 i = 0; i < mesh.size(); ++i)
            (std::ranges::find(voters, mesh.id(i)) != voters.end() ? voting : rest).push_back(i);
        cut = rest.front();
        points.disarm();
        points.force(fault_point_index("wire.relay_refused"));
        std::string error;
        EXPECT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"rep:2"})", &error)) << error;
        EXPECT_TRUE(world.run_until([&] { return is_at(cut, newest()); }, 10_s)) << why(world);
        world.partition({cut}, voting);
    }
    static SimMeshOptions nine() {
        SimMeshOptions options;
        options.corelets = 9;
        return options;
    }
    [[nodiscard]] MapService& maps(u32 index) { return *mesh.node(index)->services().maps; }
    [[nodiscard]] MapEpoch newest() {
        MapEpoch out;
        for (u32 i = 0; i < mesh.size(); ++i)
            if (mesh.node(i)) out = std::max(out, maps(i).current()->epoch);
        return out;
    }
    [[nodiscard]] bool is_at(u32 index, MapEpoch epoch) { return maps(index).current()->epoch >= epoch; }
    void expect_same_map() {
        EXPECT_EQ(mesh::encode_map(*maps(cut).current()), mesh::encode_map(*maps(voting.front()).current()));
    }
};

TEST(MapSim, ADeathIsToldWithGossipAndNobodyFetches) {
    CutOff r(71);
    u64 const heard = r.maps(r.cut).heard(), fetched = r.maps(r.cut).fetched();
    MapEpoch const before = r.newest();
    r.mesh.machine(r.rest.back()).crash();
    ASSERT_TRUE(r.world.run_until([&] { return r.newest() > before; }, 10_s)) << why(r.world);
    EXPECT_TRUE(r.world.run_until([&] { return r.is_at(r.cut, r.newest()); }, 2_s)) << why(r.world);
    EXPECT_GT(r.maps(r.cut).heard(), heard);
    EXPECT_EQ(r.maps(r.cut).fetched(), fetched);
    r.expect_same_map();
}

TEST(MapSim, WhatIsTooLargeForADatagramIsFetched) {
    CutOff r(72);
    u64 const fetched = r.maps(r.cut).fetched();
    std::string error;
    // Its first table: two kilobytes.
    ASSERT_TRUE(r.mesh.command("pool.create", R"({"name":"q","redundancy":"ec:4+2"})", &error)) << error;
    auto const known = [&] { return r.maps(r.cut).current()->find_pool("q") != nullptr; };
    EXPECT_TRUE(r.world.run_until(known, 5_s)) << why(r.world);
    EXPECT_GT(r.maps(r.cut).fetched(), fetched);
    r.expect_same_map();
}

TEST(MapSim, WhereNobodyTellsWhatChangedTheWholeMapIsFetched) {
    CutOff r(73);
    r.points.force(fault_point_index("map.delta_withheld"));
    u64 const heard = r.maps(r.cut).heard();
    MapEpoch const before = r.newest();
    r.mesh.machine(r.rest.back()).crash();
    ASSERT_TRUE(r.world.run_until([&] { return r.newest() > before; }, 10_s)) << why(r.world);
    EXPECT_TRUE(r.world.run_until([&] { return r.is_at(r.cut, r.newest()); }, 5_s)) << why(r.world);
    EXPECT_EQ(r.maps(r.cut).heard(), heard);
    EXPECT_GT(r.maps(r.cut).fetched(), 0u);
    r.expect_same_map();
}

// Whole maps that count as too large for one value: everybody reads and changes pieces.
TEST(MapSim, AMapInPiecesIsReadAndChangedByAll) {
    FaultPoints points{Prng(1)};
    points.disarm();
    points.force(fault_point_index("map.parted"));
    sim::World world(74);
    SimMesh mesh(world, six());
    ASSERT_TRUE(mesh.up()) << why(world);
    std::string error;
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:2+1"})", &error)) << error;
    auto const map_at = [&](usize index) { return mesh.node(index)->services().maps->current(); };
    CoreletId const lost = mesh.id(5);
    mesh.machine(5).crash();
    auto const is_out = [&] { return map_at(0)->find(lost)->presence == mesh::Presence::kOut; };
    ASSERT_TRUE(world.run_until(is_out, 60_s)) << why(world);
    mesh.start(5);
    auto const is_back = [&] { return mesh.node(5) && map_at(5)->is_up(lost); };
    ASSERT_TRUE(world.run_until(is_back, 60_s)) << why(world);
    auto const is_tidy = [&] {
        MapService& maps = *mesh.node(0)->services().maps;
        return maps.unused_pieces().empty() && map_at(0)->epoch == map_at(5)->epoch;
    };
    EXPECT_TRUE(world.run_until(is_tidy, 30_s)) << why(world);
    for (usize i = 1; i < 6; ++i)
        if (map_at(i)->epoch == map_at(0)->epoch)
            EXPECT_EQ(mesh::encode_map(*map_at(i)), mesh::encode_map(*map_at(0)));
    const CatalogState& catalog = mesh.node(0)->services().catalog->local();
    auto const record = decode_map_record(catalog.find(k_map_key)->value, mesh::Map{});
    ASSERT_TRUE(record) << record.error().to_string();
    EXPECT_TRUE(std::holds_alternative<MapHead>(*record));
}

}  // namespace
}  // namespace corelet
