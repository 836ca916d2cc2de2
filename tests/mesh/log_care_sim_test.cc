// `volume log` part of a repair, in whole meshes: copies of the log that are gone are found, and made good.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

struct LogCared {
    Ready r;
    explicit LogCared(u64 seed, const std::string& redundancy = "ec:2+1") : r(seed, six(), redundancy) {
        EXPECT_TRUE(fill(r.mesh, "v", 0, 8));
    }
    Json check_log(bool verify = false) {
        return answer_to(r.mesh, "volume.log.check", Json{{"name", "v"}, {"verify", verify}}.dump());
    }
    Json mend_log(const Json& found, bool verify = false) {
        Json segments = Json::array();
        for (const Json& each : found.at("found")) segments.push_back(each["segment"]);
        return answer_to(r.mesh, "volume.log.mend",
                         Json{{"name", "v"}, {"segments", segments}, {"verify", verify}}.dump());
    }
    VolumeHost::Owned owned() {
        auto const server = r.mesh.server_of("v");
        return r.mesh.node(*server)->services().volumes->owned().at("v");
    }
    // Of the segment, one that does not own the volume.
    usize replica_of(u64 seq) {
        auto const stream = r.mesh.stream_record("v");
        for (const pb::Segment& segment : stream.segments())
            for (u64 id : segment.replicas())
                if (usize const at = *r.mesh.index_of(CoreletId(id)); segment.seq() == seq && at != owner())
                    return at;
        ADD_FAILURE() << "no such segment";
        return 0;
    }
    usize owner() { return *r.mesh.server_of("v"); }
    SegmentId segment(u64 seq) { return SegmentId{SpaceId(r.mesh.stream_record("v").space()), seq}; }
    void lose(usize at, u64 seq) {
        auto const gone =
            r.world.run(r.mesh.machine(at), r.mesh.node(at)->services().store->drop_segment(segment(seq)));
        ASSERT_TRUE(gone && *gone);
    }
    u64 standby() {
        auto const standbys = owned().stream.standbys;
        return standbys.empty() ? 0 : standbys.front().id.seq;
    }
};

TEST(LogCareSim, AWholeLogIsFoundWhole) {
    LogCared c(521);
    for (bool const verify : {false, true}) {
        Json const found = c.check_log(verify);
        EXPECT_TRUE(found["found"].empty()) << found.dump();
        EXPECT_GE(found["segments"].get<u64>(), 2U) << "the open one and a standby";
        EXPECT_GE(found["copies"].get<u64>(), 4U);
    }
}

TEST(LogCareSim, AStandbyThatIsNotThereIsReplaced) {
    LogCared c(522);
    u64 const seq = c.standby();
    ASSERT_NE(seq, 0U);
    usize const at = c.replica_of(seq);
    c.lose(at, seq);
    Json const found = c.check_log();
    ASSERT_EQ(found["found"].size(), 1U) << found.dump();
    EXPECT_EQ(found["found"][0]["use"], "standby");
    EXPECT_EQ(found["found"][0]["missing"], Json::array({to_string(c.r.mesh.id(at))}));
    Json const mended = c.mend_log(found);
    EXPECT_TRUE(mended["not_done"].empty()) << mended.dump();
    auto const stream = c.r.mesh.stream_record("v");
    for (const pb::Segment& segment : stream.segments()) EXPECT_NE(segment.seq(), seq);
    ASSERT_TRUE(c.r.world.run_until([&] { return c.standby() != 0; }, 10_s)) << why(c.r.world);
    EXPECT_TRUE(c.check_log()["found"].empty());
}

// Reading alone tells it; the volume rolls away, packs what the segment held, and lets go of it.
TEST(LogCareSim, AnOpenSegmentThatHasRottedIsPacked) {
    LogCared c(523);
    u64 const seq = c.owned().stream.open_seq;
    ASSERT_NE(seq, 0U);
    ASSERT_GT(c.owned().stream.acknowledged_bytes, 2 * k_block_bytes);
    usize const at = c.replica_of(seq);
    auto const places = c.r.mesh.node(at)->services().store->segment_places(c.segment(seq), 4096, 4096);
    ASSERT_EQ(places.size(), 1U);
    sim::MediaFile* const device = c.r.mesh.machine(at).media().find(c.r.mesh.device_path(at));
    ASSERT_NE(device, nullptr);
    device->flip_bit(places[0].first + 100, 3);
    EXPECT_TRUE(c.check_log()["found"].empty()) << "nobody has read it";
    Json const found = c.check_log(true);
    ASSERT_EQ(found["found"].size(), 1U) << found.dump();
    EXPECT_EQ(found["found"][0]["use"], "open");
    EXPECT_EQ(found["found"][0]["damaged"], Json::array({to_string(c.r.mesh.id(at))}));
    Json const mended = c.mend_log(found, true);
    EXPECT_TRUE(mended["not_done"].empty()) << mended.dump();
    EXPECT_NE(c.owned().stream.open_seq, seq);
    EXPECT_TRUE(c.check_log(true)["found"].empty());
    Json const map = answer_to(c.r.mesh, "volume.map", R"({"name":"v","offset":0,"length":524288})");
    for (const Json& row : map["rows"]) EXPECT_EQ(row["kind"], "chunk") << row.dump();
    EXPECT_TRUE(check(c.r.mesh, "v", 0, 8));
}

// What is down keeps nobody from having all copies: what the segment holds lies in chunks then.
TEST(LogCareSim, AnEndedSegmentOfWhichACopyIsGoneIsPackedAndSaid) {
    LogCared c(524, "rep:3");
    u64 const seq = c.owned().stream.open_seq;
    usize const at = c.replica_of(seq);
    c.r.mesh.machine(at).crash();
    ASSERT_TRUE(c.r.world.run_until(
        [&] { return !c.r.mesh.node(c.owner())->services().maps->current()->is_up(c.r.mesh.id(at)); }, 30_s));
    Json const found = c.check_log();
    for (const Json& each : found["found"]) EXPECT_FALSE(each["unseen"].empty()) << each.dump();
    Json const mended = c.mend_log(found);
    EXPECT_TRUE(mended["not_done"].empty()) << mended.dump();
    EXPECT_TRUE(c.check_log()["found"].empty());
    EXPECT_TRUE(check(c.r.mesh, "v", 0, 8));
}

TEST(LogCareSim, WhoIsNotTheOwnerLetsGoOfNothing) {
    LogCared c(525);
    usize const other = c.owner() == 0 ? 1 : 0;
    auto& volumes = *c.r.mesh.node(other)->services().volumes;
    auto const refused = c.r.world.run(c.r.mesh.machine(other), volumes.mend_log("v", {c.owned().stream.open_seq}));
    ASSERT_TRUE(refused.has_value());
    ASSERT_FALSE(refused->has_value());
    EXPECT_EQ(refused->error().code, Code::kNotOwner);
    std::string error;
    EXPECT_FALSE(c.r.mesh.command("volume.log.check", R"({"name":"w"})", &error).has_value());
    EXPECT_NE(error.find("there is no volume 'w'"), std::string::npos) << error;
}

}  // namespace
}  // namespace corelet
