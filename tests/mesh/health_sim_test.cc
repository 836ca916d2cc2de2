// Health (docs/guide/status.md): each fault is named at its own level, in status and in the event log; and a slow
// device is gone round without being declared dead.
#include <gtest/gtest.h>

#include "base/json.h"
#include "node/health_service.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// Of a status: a corelet's own health, or that of its device.
Json health_in(const Json& status, CoreletId id, const char* key) {
    for (const Json& corelet : status.at("corelets"))
        if (corelet.at("id") == to_string(id)) return corelet.at(key);
    ADD_FAILURE() << "status does not know corelet " << to_string(id);
    return Json{{"findings", Json::array()}};
}

Json health_of(Ready& r, usize index, const char* key) {
    return health_in(answer_to(r.mesh, "status"), r.mesh.id(index), key);
}

// What is found at that level; null if nothing is.
Json finding_in(const Json& health, const std::string& level) {
    for (const Json& finding : health.at("findings"))
        if (finding.at("level") == level) return finding;
    return {};
}

Json finding_of(Ready& r, usize index, const char* key, const std::string& level) {
    return finding_in(health_of(r, index, key), level);
}

// The first event of that kind about that corelet or device.
Json event_of(Ready& r, usize index, const std::string& subject, const std::string& level,
              const std::string& to = "degraded") {
    Json const answer = answer_to(r.mesh, "events");
    for (const Json& event : answer.at("events"))
        if (event.at("subject") == subject && event.at("name") == to_string(r.mesh.id(index)) &&
            event.at("level") == level && event.at("to") == to)
            return event;
    return {};
}

void cut_link(Ready& r, usize a, usize b, bool cut) {
    u32 const from = r.mesh.machine(a).index(), to = r.mesh.machine(b).index();
    for (auto const& [x, y] : {std::pair(from, to), std::pair(to, from)})
        cut ? r.world.fabric().cut(x, y) : r.world.fabric().mend(x, y);
}

bool is_in(const std::vector<CoreletId>& list, CoreletId id) {
    return std::find(list.begin(), list.end(), id) != list.end();
}

// Writes a block every so often, for so long; by whoever serves.
bool write_for(Ready& r, Duration time, u64* next) {
    for (auto const end = r.world.now() + time; r.world.now() < end;) {
        if (!fill(r.mesh, "v", (*next)++ % 200, 1)) return false;
        r.world.run_for(20_ms);
    }
    return true;
}

// A corelet in the open segment that does not own the volume.
usize replica_of(Ready& r) {
    auto const server = r.mesh.sole_server_of("v");
    for (CoreletId id : server->second.open_segment)
        if (id != r.mesh.id(server->first)) return *r.mesh.index_of(id);
    return server->first;
}

TEST(HealthSim, AHealthyMeshSaysSo) {
    Ready r(900, six(), "ec:2+1");
    u64 next = 0;
    ASSERT_TRUE(write_for(r, 20_s, &next)) << why(r.world);
    Json const status = answer_to(r.mesh, "status");
    for (const Json& corelet : status.at("corelets")) {
        EXPECT_EQ(corelet.at("health").at("state"), "healthy") << corelet.dump(1);
        EXPECT_EQ(corelet.at("device_health").at("state"), "healthy") << corelet.dump(1);
        EXPECT_GT(corelet.at("health").at("since_ms").get<i64>(), 0);
    }
    EXPECT_EQ(status.at("volumes").at(0).at("health").at("state"), "healthy") << status.dump(1);
    EXPECT_EQ(status.at("pools").at(0).at("health").at("state"), "healthy") << status.dump(1);
}

TEST(HealthSim, ACutLinkIsNamedAsReachableWithTheWayRound) {
    Ready r(901, six(), "ec:2+1");
    usize const a = 2, b = 4;
    cut_link(r, a, b, true);
    auto const named = [&] {
        return !finding_of(r, b, "health", "reachable").is_null() ||
               !finding_of(r, a, "health", "reachable").is_null();
    };
    for (int second = 0; second < 20 && !named(); ++second) r.world.run_for(1_s);
    r.world.run_for(3_s);
    for (auto const& [one, other] : {std::pair(a, b), std::pair(b, a)}) {
        Json const finding = finding_of(r, one, "health", "reachable");
        ASSERT_FALSE(finding.is_null()) << why(r.world);
        EXPECT_EQ(finding.at("state"), "degraded");
        EXPECT_EQ(finding.at("by"), Json::array({to_string(r.mesh.id(other))}));
        std::string const reason = finding.at("reason");
        EXPECT_EQ(reason.find("not from corelet " + to_string(r.mesh.id(other)) + ", but through "), 0U) << reason;
        EXPECT_FALSE(event_of(r, one, "corelet", "reachable").is_null());
        EXPECT_TRUE(finding_of(r, one, "device_health", "storing").is_null()) << "nobody accuses its device";
        EXPECT_EQ(health_of(r, one, "health").at("level"), "reachable");
    }
    for (usize i = 0; i < r.mesh.size(); ++i)
        if (i != a && i != b) {
            EXPECT_EQ(health_of(r, i, "health").at("state"), "healthy");
        }
    EXPECT_TRUE(r.mesh.node(0)->services().maps->current()->is_up(r.mesh.id(a)));
    cut_link(r, a, b, false);
    r.world.run_for(20_s);
    EXPECT_EQ(health_of(r, b, "health").at("state"), "healthy") << why(r.world);
    EXPECT_FALSE(event_of(r, b, "corelet", "reachable", "healthy").is_null());
}

// Too short to be called dead. Those who wait for it say so while it lasts, and it says itself how long it was.
TEST(HealthSim, AHungLoopIsNamedAsServing) {
    Ready r(902, six(), "ec:2+1");
    u64 next = 0;
    ASSERT_TRUE(write_for(r, 5_s, &next)) << why(r.world);
    usize const hung = replica_of(r);
    r.mesh.machine(hung).pause();
    ASSERT_TRUE(write_for(r, 1_s, &next)) << why(r.world);
    Json const status = answer_to(r.mesh, "status");  // takes half a second: the hung one does not answer
    Json const meanwhile = finding_in(health_in(status, r.mesh.id(hung), "health"), "serving");
    ASSERT_FALSE(meanwhile.is_null()) << why(r.world);
    EXPECT_EQ(std::string(meanwhile.at("reason")).find("no request was answered for "), 0U) << meanwhile.dump(1);
    // Silent it may be for long enough meanwhile: that is found later.
    Json const silent = finding_in(health_in(status, r.mesh.id(hung), "health"), "reachable");
    if (!silent.is_null()) {
        EXPECT_LT(meanwhile.at("since_ms"), silent.at("since_ms")) << silent.dump(1);
        EXPECT_EQ(std::string(silent.at("reason")).find("none of its observers"), 0U) << silent.dump(1);
    }
    EXPECT_TRUE(finding_in(health_in(status, r.mesh.id(hung), "device_health"), "storing").is_null())
        << "nor is its device to blame";
    r.world.run_for(1500_ms);
    r.mesh.machine(hung).resume();
    r.world.run_for(1_s);
    bool self = false;
    Json const answer = answer_to(r.mesh, "events");
    for (const Json& event : answer.at("events")) {
        bool const own = event.at("corelet") == to_string(r.mesh.id(hung));
        bool const told = std::string(event.at("reason")).find("its loop stood still for ") == 0;
        if (own && told) {
            EXPECT_EQ(event.at("level"), "serving");
            self = true;
        }
    }
    EXPECT_TRUE(self) << answer.dump(1);
    EXPECT_TRUE(r.mesh.node(0)->services().maps->current()->is_up(r.mesh.id(hung))) << "and it was never down";
    r.world.run_for(60_s);
    EXPECT_EQ(health_of(r, hung, "health").at("state"), "healthy") << health_of(r, hung, "health").dump(1);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(HealthSim, ADeviceThatHangsIsNamedAsStoring) {
    Ready r(903, six(), "ec:2+1");
    u64 next = 0;
    ASSERT_TRUE(write_for(r, 5_s, &next)) << why(r.world);
    usize const stuck = replica_of(r);
    r.mesh.machine(stuck).media().find(r.mesh.device_path(stuck))->faults.stuck_until = r.world.now() + 12_s;
    ASSERT_TRUE(write_for(r, 6_s, &next)) << why(r.world);
    Json const finding = finding_of(r, stuck, "device_health", "storing");
    ASSERT_FALSE(finding.is_null()) << why(r.world);
    EXPECT_FALSE(event_of(r, stuck, "device", "storing").is_null());
    EXPECT_TRUE(finding_of(r, stuck, "health", "reachable").is_null());
    EXPECT_TRUE(finding_of(r, stuck, "health", "serving").is_null())
        << health_of(r, stuck, "health").dump(1) << " though it answers what needs no device";
    r.world.run_for(60_s);
    EXPECT_EQ(health_of(r, stuck, "device_health").at("state"), "healthy");
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(HealthSim, ADeviceThatFailsIsNamedAsStoring) {
    Ready r(904, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 10)) << why(r.world);
    usize const failed = replica_of(r);
    r.mesh.machine(failed).media().find(r.mesh.device_path(failed))->faults.fail_writes = 1;
    ASSERT_TRUE(fill(r.mesh, "v", 10, 10)) << why(r.world);
    r.world.run_for(3_s);
    Json const finding = finding_of(r, failed, "device_health", "storing");
    ASSERT_FALSE(finding.is_null()) << why(r.world);
    EXPECT_EQ(finding.at("state"), "failed");
    EXPECT_NE(std::string(finding.at("reason")).find("the device has failed"), std::string::npos);
    EXPECT_FALSE(event_of(r, failed, "device", "storing", "failed").is_null());
}

TEST(HealthSim, AFullDiskIsNamedAsStoring) {
    SimMeshOptions options;
    options.corelets = 4;
    options.device_bytes = 128 * k_mib;
    Ready r(905, options, "ec:2+1");
    // A volume that the pool has no room for: written on until some device says so. A refused write alone does not
    // tell: for a moment what the log holds is not packed yet.
    std::string error;
    ASSERT_TRUE(r.mesh.command("volume.create", R"({"name":"big","pool":"p","size_bytes":536870912})", &error) &&
                r.mesh.command("volume.attach", R"({"name":"big"})", &error))
        << error;
    auto const some_device_is_full = [&] {
        for (usize i = 0; i < r.mesh.size(); ++i)
            if (r.mesh.node(i)->services().health->ledger().state(Subject::device(r.mesh.id(i)),
                                                                  HealthLevel::kStoring) == HealthState::kDegraded)
                return true;
        return false;
    };
    for (u64 block = 0; block < 8192 && !some_device_is_full(); ++block) {
        auto const server = r.mesh.server_of("big");
        ASSERT_TRUE(server);
        auto const written = r.world.run(
            r.mesh.machine(*server),
            r.mesh.device("big")->write(block * 65536, BufferChain(pattern(block, 65536)), false), 30_s);
        if (!written || !*written) r.world.run_for(100_ms);
    }
    r.world.run_for(2_s);
    bool named = false;
    for (usize i = 0; i < r.mesh.size(); ++i) {
        Json const finding = finding_of(r, i, "device_health", "storing");
        if (finding.is_null()) continue;
        std::string const reason = finding.at("reason");
        EXPECT_NE(reason.find("full: "), std::string::npos) << reason;
        EXPECT_EQ(finding.at("state"), "degraded") << "full is not broken";
        EXPECT_EQ(health_of(r, i, "health").at("state"), "healthy");
        EXPECT_FALSE(event_of(r, i, "device", "storing").is_null());
        named = true;
    }
    EXPECT_TRUE(named) << answer_to(r.mesh, "status").dump(1) << why(r.world);
}

// Found within a minute by those who observe it, gone round by the log, the owner and new chunks, and put back.
TEST(HealthSim, ASlowDeviceIsGoneRoundWithinAMinute) {
    Ready r(906, six(), "ec:2+1");
    u64 next = 0;
    ASSERT_TRUE(write_for(r, 60_s, &next)) << why(r.world);
    usize const slow = *r.mesh.server_of("v");
    CoreletId const id = r.mesh.id(slow);
    auto& faults = r.mesh.machine(slow).media().find(r.mesh.device_path(slow))->faults;
    faults.slow_factor = 5;
    auto const began = r.world.now();
    auto const gone_round = [&] {
        auto const server = r.mesh.sole_server_of("v");
        if (!server || server->first == slow || is_in(server->second.open_segment, id)) return false;
        bool const standby = std::any_of(server->second.standbys.begin(), server->second.standbys.end(),
                                         [&](const LogSegment& s) { return is_in(s.replicas, id); });
        return !standby && !server->second.standbys.empty();
    };
    while (!gone_round() && r.world.now() - began < 60_s) ASSERT_TRUE(write_for(r, 500_ms, &next)) << why(r.world);
    EXPECT_TRUE(gone_round()) << why(r.world);
    EXPECT_TRUE(r.mesh.node(slow)->services().maps->current()->is_up(id)) << "slow is not dead";
    Json const finding = finding_of(r, slow, "device_health", "storing");
    ASSERT_FALSE(finding.is_null()) << why(r.world);
    EXPECT_EQ(std::string(finding.at("reason")).find("slow: "), 0U) << finding.dump(1);
    EXPECT_EQ(health_of(r, slow, "health").at("state"), "healthy");
    usize const owner = *r.mesh.server_of("v");
    auto& services = r.mesh.node(owner)->services();
    EXPECT_TRUE(services.placement->avoids(id));
    EXPECT_TRUE(services.chunks->peers().is_slow(id));
    auto const map = services.maps->current();
    for (u64 seq = 0; seq < 100; ++seq) {
        ChunkId const chunk{SpaceId(1), seq};
        const mesh::Pool& pool = map->pools.front();
        if (services.placement->suits(pool.id, chunk)) {
            EXPECT_FALSE(is_in(pool.current().row(pool.slot(chunk)), id)) << seq;
        }
    }
    EXPECT_TRUE(check(r.mesh, "v", 0, std::min<u64>(next, 200)));
    faults.slow_factor = 1;
    auto const put_back = [&] { return services.placement->avoided().empty(); };
    EXPECT_TRUE(r.world.run_until(put_back, 90_s)) << why(r.world);
    r.world.run_for(15_s);
    EXPECT_EQ(health_of(r, slow, "device_health").at("state"), "healthy") << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(HealthSim, EventsOutliveARestartAndAFollowerMissesNone) {
    Ready r(907, six(), "ec:2+1");
    cut_link(r, 1, 3, true);
    for (int second = 0; second < 20 && event_of(r, 3, "corelet", "reachable").is_null(); ++second)
        r.world.run_for(1_s);
    r.world.run_for(5_s);
    Json const before = answer_to(r.mesh, "events");
    ASSERT_FALSE(before.at("events").empty());
    Json const again = answer_to(r.mesh, "events", Json{{"after", before.at("cursor")}}.dump());
    EXPECT_TRUE(again.at("events").empty()) << again.dump(1);
    // By who saw it: its log is on its device.
    r.mesh.machine(1).crash();
    r.world.run_for(1_s);
    r.mesh.start(1);
    r.world.run_for(10_s);
    Json const after = answer_to(r.mesh, "events");
    auto const of_one = [&](const Json& events) {
        std::vector<u64> numbers;
        for (const Json& event : events)
            if (event.at("corelet") == to_string(r.mesh.id(1))) numbers.push_back(event.at("number").get<u64>());
        return numbers;
    };
    auto const old = of_one(before.at("events")), all = of_one(after.at("events"));
    ASSERT_FALSE(old.empty());
    ASSERT_GE(all.size(), old.size());
    EXPECT_TRUE(std::equal(old.begin(), old.end(), all.begin()));
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_EQ(after.at("silent"), Json::array());
}

}  // namespace
}  // namespace corelet
