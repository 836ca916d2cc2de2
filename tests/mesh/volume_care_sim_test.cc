// `volume map`, `check` and `mend` in whole meshes, while healing is paused and does none of it by itself.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

struct Cared {
    Ready r;
    explicit Cared(u64 seed) : r(seed, six(), "ec:2+1") {
        EXPECT_TRUE(fill(r.mesh, "v", 0, 40));
        auto const is_packed = [&] {
            auto const server = r.mesh.server_of("v");
            return server && r.mesh.node(*server)->services().volumes->owned().at("v").volume.unpacked_bytes == 0;
        };
        EXPECT_TRUE(r.world.run_until(is_packed, 60_s)) << why(r.world);
        EXPECT_TRUE(r.world.run_for(10_s));
        (void)answer_to(r.mesh, "healing.pause", R"({"length_ms":3600000})");
        EXPECT_TRUE(r.world.run_for(2_s));
    }
    Json check_volume(bool everywhere = false) {
        return answer_to(r.mesh, "volume.check", Json{{"name", "v"}, {"everywhere", everywhere}}.dump());
    }
    Store& store(usize index) { return *r.mesh.node(index)->services().store; }
    // A fragment of the volume that lies somewhere, by the first row of its map.
    struct Victim {
        FragmentId id;
        usize at = 0;
    };
    Victim victim() {
        Json const map = answer_to(r.mesh, "volume.map", R"({"name":"v","offset":0,"length":65536})");
        const Json& row = map["rows"][0];
        SpaceId const space(r.mesh.stream_record("v").space());
        ChunkId const chunk{space, row["container"].get<u64>()};
        auto const here = r.mesh.node(0)->services().maps->current();
        CoreletId const home = here->pools[0].current().at(here->pools[0].slot(chunk), 1);
        return {FragmentId{chunk, 1}, *r.mesh.index_of(home)};
    }
    void lose(const Victim& v) {
        auto const gone = r.world.run(r.mesh.machine(v.at), store(v.at).remove_fragment(v.id));
        ASSERT_TRUE(gone && *gone);
    }
};

TEST(VolumeCareSim, TheMapNamesEveryBlockOnceAndWhoHasIt) {
    Cared c(501);
    Json const map = answer_to(c.r.mesh, "volume.map", R"({"name":"v"})");
    u64 at = 0, data = 0;
    for (const Json& row : map["rows"]) {
        EXPECT_EQ(row["offset"].get<u64>(), at) << "rows follow each other";
        at += row["length"].get<u64>();
        if (row["kind"] == "hole") continue;
        data += row["length"].get<u64>();
        ASSERT_EQ(row["kind"], "chunk") << row.dump();
        EXPECT_EQ(row["copies_wanted"], 3);
        EXPECT_EQ(row["copies_alive"], 3) << row.dump();
        EXPECT_LT(row["fragment"].get<u32>(), 2U) << "data lies in data fragments";
        for (usize p = 0; p < 3; ++p) {
            const Json& place = row["places"][p];
            SpaceId const space(c.r.mesh.stream_record("v").space());
            FragmentId const id{ChunkId{space, row["container"].get<u64>()}, static_cast<u8>(p)};
            for (usize i = 0; i < c.r.mesh.size(); ++i)
                if (to_string(c.r.mesh.id(i)) == place["corelet"].get<std::string>())
                    EXPECT_TRUE(c.store(i).fragment_info(id));
        }
    }
    EXPECT_EQ(at, 64 * k_mib) << "to the end";
    EXPECT_EQ(data, 40 * 64 * k_kib);
    EXPECT_TRUE(map["next"].is_null());
}

TEST(VolumeCareSim, WhatTheLogStillHoldsIsNamedWithItsReplicas) {
    Ready r(502, six(), "ec:2+1");
    auto const server = r.mesh.server_of("v");
    ASSERT_TRUE(server.has_value());
    auto const written =
        r.world.run(r.mesh.machine(*server), r.mesh.device("v")->write(8192, BufferChain(pattern(1, 4096)), false));
    ASSERT_TRUE(written && *written);
    Json const map = answer_to(r.mesh, "volume.map", R"({"name":"v","offset":8192,"length":4096})");
    ASSERT_EQ(map["rows"].size(), 1U);
    const Json& row = map["rows"][0];
    EXPECT_EQ(row["kind"], "log");
    EXPECT_EQ(row["copies_wanted"], 2);
    EXPECT_EQ(row["copies_alive"], 2) << row.dump();
}

TEST(VolumeCareSim, WhatIsMissingIsFoundAndFixed) {
    Cared c(503);
    Json const whole = c.check_volume();
    EXPECT_TRUE(whole["found"].empty()) << whole.dump();
    EXPECT_EQ(whole["checked"], whole["total"]);
    EXPECT_GT(whole["checked"].get<u64>(), 0U);
    auto const victim = c.victim();
    c.lose(victim);
    EXPECT_TRUE(c.r.world.run_for(15_s)) << "healing is paused: nobody else makes it";
    Json const map = answer_to(c.r.mesh, "volume.map", R"({"name":"v","offset":0,"length":4096})");
    EXPECT_EQ(map["rows"][0]["copies_alive"], 2) << map.dump();
    Json const found = c.check_volume();
    ASSERT_EQ(found["found"].size(), 1U) << found.dump();
    EXPECT_EQ(found["found"][0]["chunk"].get<u64>(), victim.id.chunk.seq);
    EXPECT_EQ(found["found"][0]["survivors"], 2);
    Json const mended =
        answer_to(c.r.mesh, "volume.mend", Json{{"name", "v"}, {"chunks", {victim.id.chunk.seq}}}.dump());
    EXPECT_EQ(mended["done"], 1) << mended.dump();
    EXPECT_TRUE(mended["not_done"].empty());
    EXPECT_GT(mended["bytes"].get<u64>(), 0U);
    EXPECT_TRUE(c.store(victim.at).fragment_info(victim.id).has_value());
    EXPECT_TRUE(c.check_volume()["found"].empty());
}

TEST(VolumeCareSim, WhatLiesOutsideItsSlotGoesHome) {
    Cared c(504);
    auto const victim = c.victim();
    usize elsewhere = 0;
    auto const map = c.r.mesh.node(0)->services().maps->current();
    const mesh::Pool& pool = map->pools[0];
    while (pool.current().position_of(pool.slot(victim.id.chunk), c.r.mesh.id(elsewhere))) ++elsewhere;
    auto const header = c.r.world.run(c.r.mesh.machine(victim.at),
                                      c.store(victim.at).read_fragment_header(victim.id, IoClass::kClient));
    u64 const bytes = c.store(victim.at).fragment_info(victim.id)->bytes;
    auto const data =
        c.r.world.run(c.r.mesh.machine(victim.at), c.store(victim.at).read_fragment(victim.id, 0, bytes, {}));
    ASSERT_TRUE(header && *header && data && *data);
    auto const planted =
        c.r.world.run(c.r.mesh.machine(elsewhere),
                      c.store(elsewhere).put_fragment(victim.id, **header, (*data)->data, (*data)->block_crcs, {}));
    ASSERT_TRUE(planted && *planted);
    c.lose(victim);
    Json const found = c.check_volume(true);
    ASSERT_EQ(found["found"].size(), 1U) << found.dump();
    ASSERT_EQ(found["found"][0]["strays"].size(), 1U);
    EXPECT_EQ(found["found"][0]["strays"][0]["corelet"], to_string(c.r.mesh.id(elsewhere)));
    EXPECT_EQ(found["found"][0]["fragment_bytes"].get<u64>(), bytes);
    Json const moved = answer_to(c.r.mesh, "volume.mend",
                                 Json{{"name", "v"}, {"chunks", {victim.id.chunk.seq}}, {"strays", true}}.dump());
    EXPECT_EQ(moved["done"], 1) << moved.dump();
    EXPECT_TRUE(c.store(victim.at).fragment_info(victim.id).has_value());
    EXPECT_FALSE(c.store(elsewhere).fragment_info(victim.id).has_value());
}

TEST(VolumeCareSim, OnlyAnOwnerKnowsAndThatIsSaid) {
    Cared c(505);
    (void)answer_to(c.r.mesh, "volume.detach", R"({"name":"v"})");
    std::string error;
    EXPECT_FALSE(c.r.mesh.command("volume.map", R"({"name":"v"})", &error).has_value());
    EXPECT_NE(error.find("corelet volume attach v"), std::string::npos) << error;
    EXPECT_FALSE(c.r.mesh.command("volume.check", R"({"name":"w"})", &error).has_value());
    EXPECT_NE(error.find("there is no volume 'w'"), std::string::npos) << error;
}

}  // namespace
}  // namespace corelet
