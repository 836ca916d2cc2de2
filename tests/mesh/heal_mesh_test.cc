// What of chunks and healing only whole corelets show: maps that come by neighbours, and garbage that the owner of
// a volume buries.
#include <gtest/gtest.h>

#include "base/checksum.h"
#include "base/json.h"
#include "mesh/voters.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// One that cannot reach the catalog hears of a new map from somebody who can, and fetches it there.
TEST(HealMesh, AMapComesByNeighboursWhereTheCatalogDoesNot) {
    sim::World world(31);
    SimMeshOptions options;
    options.corelets = 7;
    SimMesh mesh(world, options);
    ASSERT_TRUE(mesh.up()) << why(world);
    auto const voters = mesh.node(0)->services().catalog->voters();
    std::vector<u32> voting, rest;
    for (u32 i = 0; i < 7; ++i)
        (std::find(voters.begin(), voters.end(), mesh.id(i)) != voters.end() ? voting : rest).push_back(i);
    ASSERT_EQ(rest.size(), 2U);
    u32 const cut = rest.front();
    world.partition({cut}, voting);
    std::string error;
    ASSERT_TRUE(mesh.command("pool.create", R"({"name":"p","redundancy":"ec:2+1"})", &error)) << error;
    bool const heard = world.run_until(
        [&] { return mesh.node(cut)->services().maps->current()->find_pool("p") != nullptr; }, 10_s);
    EXPECT_TRUE(heard) << why(world);
}

Task<Result<void>> plant(Store* store, FragmentId id, u64 chunk_bytes, u8 k, u8 m) {
    Buffer const data = Buffer::zeroed(chunk_bytes / k);
    FragmentHeader header;
    header.k = k;
    header.m = m;
    header.chunk_data_bytes = chunk_bytes;
    header.map_epoch = MapEpoch(1);
    co_return co_await store->put_fragment(id, header, BufferChain(data), block_crcs(BufferChain(data)), {});
}

// Two chunks that nobody refers to, as a put that was given up leaves them: of one there is enough to rebuild it,
// of the other not. Both go when a checkpoint has moved the horizon past them; a third, numbered above it, stays.
TEST(HealMesh, WhatAGivenUpPutLeftIsBuried) {
    sim::World world(32);
    SimMeshOptions options;
    options.corelets = 4;
    SimMesh mesh(world, options);
    std::string error;
    ASSERT_TRUE(make_ready(mesh, Json{{"redundancy", "ec:2+1"}}, &error)) << error << why(world);
    auto const server = mesh.server_of("v");
    ASSERT_TRUE(server.has_value());
    auto const streams = mesh.node(0)->services().catalog->local_range("streams/");
    pb::Stream stream;
    ASSERT_TRUE(!streams.items.empty() && stream.ParseFromString(streams.items.front().value));
    SpaceId const space(stream.space());
    auto const map = mesh.node(0)->services().maps->current();
    const mesh::Pool& pool = *map->find_pool("p");
    ChunkId const whole{space, make_seq(Epoch(stream.epoch()), 2'000'000'001)},
        part{space, make_seq(Epoch(stream.epoch()), 2'000'000'002)},
        above{space, make_seq(Epoch(stream.epoch() + 50), 7)};
    auto const put = [&](ChunkId chunk, u8 position) {
        usize const home = *mesh.index_of(pool.current().at(pool.slot(chunk), position));
        auto const planted = world.run(
            mesh.machine(home),
            plant(mesh.node(home)->services().store.get(), FragmentId{chunk, position}, 8 * k_block_bytes, 2, 1));
        return planted && planted->has_value();
    };
    ASSERT_TRUE(put(whole, 0) && put(whole, 1) && put(part, 2) && put(above, 0) && put(above, 1));
    auto const held = [&](ChunkId chunk) {
        usize count = 0;
        for (usize i = 0; i < 4; ++i)
            for (u8 p = 0; p < 3; ++p)
                count += mesh.node(i)->services().store->fragment_info(FragmentId{chunk, p}) ? 1U : 0U;
        return count;
    };
    // This owner's numbers are far below: nothing is proven yet, so what can be rebuilt is.
    ASSERT_TRUE(world.run_until([&] { return held(whole) == 3 && held(above) == 3; }, 60_s)) << why(world);
    EXPECT_EQ(held(part), 1U);
    // The next owner's numbers are above all of this epoch's; its first checkpoint proves them dead.
    usize const next = (*server + 1) % 4;
    ASSERT_TRUE(mesh.command("volume.attach", R"({"name":"v","at":")" + to_string(mesh.id(next)) + R"("})", &error))
        << error;
    ASSERT_TRUE(world.run_until([&] { return mesh.server_of("v") == next; }, 30_s)) << why(world);
    Buffer data = Buffer::zeroed(64 * k_kib);
    for (usize i = 0; i < data.size(); i += 64) data.mutable_data()[i] = static_cast<u8>(i / 64 + 1);
    auto const written = world.run(mesh.machine(next), mesh.device("v")->write(0, BufferChain(data), false));
    ASSERT_TRUE(written && *written);
    EXPECT_TRUE(world.run_until([&] { return held(whole) == 0 && held(part) == 0; }, 90_s))
        << held(whole) << " " << held(part) << why(world);
    EXPECT_EQ(held(above), 3U);
    EXPECT_FALSE(world.failed()) << why(world);
}

// The same while the volume is busy with little: no checkpoint is due for its own sake, so the horizon would stay
// where it is; that somebody asks about what nothing refers to moves it.
TEST(HealMesh, GarbageOfABusyOwnerIsBuriedToo) {
    sim::World world(33);
    SimMeshOptions options;
    options.corelets = 4;
    SimMesh mesh(world, options);
    std::string error;
    ASSERT_TRUE(make_ready(mesh, Json{{"redundancy", "ec:2+1"}}, &error)) << error << why(world);
    auto const server = mesh.server_of("v");
    ASSERT_TRUE(server.has_value());
    auto const volume = mesh.node(*server)->services().volumes->volume("v");
    ChunkId const garbage = volume->core().stream->new_chunk_id();
    auto const map = mesh.node(0)->services().maps->current();
    const mesh::Pool& pool = *map->find_pool("p");
    usize const home = *mesh.index_of(pool.current().at(pool.slot(garbage), 1));
    auto const planted = world.run(mesh.machine(home), plant(mesh.node(home)->services().store.get(),
                                                             FragmentId{garbage, 1}, 8 * k_block_bytes, 2, 1));
    ASSERT_TRUE(planted && planted->has_value());
    Buffer data = Buffer::zeroed(k_block_bytes);
    bool gone = false;
    for (u64 i = 0; i < 240 && !gone; ++i) {
        data.mutable_data()[8] = static_cast<u8>(i + 1);
        auto const written =
            world.run(mesh.machine(*server), volume->write(i % 100 * k_block_bytes, BufferChain(data), false));
        ASSERT_TRUE(written && *written);
        ASSERT_TRUE(world.run_for(250_ms)) << why(world);
        gone = !mesh.node(home)->services().store->fragment_info(FragmentId{garbage, 1});
    }
    EXPECT_TRUE(gone) << why(world);
}

}  // namespace
}  // namespace corelet
