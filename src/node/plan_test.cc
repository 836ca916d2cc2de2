// What is planned, and what is said of it.
#include "node/plan.h"

#include "mesh/mesh_testing.h"

namespace corelet {
namespace {

using mesh::testing::make_corelet;
using mesh::testing::make_map;
using mesh::testing::with_pool;

mesh::Map six_with_pool() {
    return with_pool(make_map(6), "ec:2+1", mesh::Level::kCorelet);
}

Result<PlanRequest> asked(const mesh::Map& map, const Json& arguments) {
    return plan_request(map, arguments);
}

std::string id_of(u64 id) {
    return to_string(CoreletId(id));
}

TEST(PlanRequestTest, AnAdditionJoinsAndComesUp) {
    mesh::Map const map = six_with_pool();
    auto const plan = asked(map, Json{{"change", "add"}, {"location", "z9/r1/c1"}, {"count", 3}});
    ASSERT_TRUE(plan.has_value()) << plan.error().to_string();
    ASSERT_EQ(plan->newcomers.size(), 3U);
    auto const after = mesh::apply_events(map, plan->events);
    ASSERT_TRUE(after.has_value()) << after.error().to_string();
    for (CoreletId id : plan->newcomers) {
        const mesh::Corelet* const fresh = after->find(id);
        ASSERT_NE(fresh, nullptr);
        EXPECT_TRUE(fresh->is_up());
        EXPECT_EQ(fresh->location.to_string(), "z9/r1/c1");
        EXPECT_EQ(fresh->capacity_bytes, 100 * k_gib) << "as the others have, where no size is named";
        EXPECT_TRUE(after->pools[0].current().has(id));
    }
}

// The others are in the map with what they have for data.
TEST(PlanRequestTest, ADeviceHoldsLessThanItsSize) {
    auto const sized = [](u64 bytes) {
        return asked(six_with_pool(), Json{{"change", "add"}, {"location", "z1"}, {"size_bytes", bytes}});
    };
    auto const plan = sized(256 * k_mib);
    ASSERT_TRUE(plan.has_value());
    auto const after = mesh::apply_events(six_with_pool(), plan->events);
    ASSERT_TRUE(after.has_value());
    u64 const capacity = after->find(plan->newcomers[0])->capacity_bytes;
    EXPECT_LT(capacity, 256 * k_mib);
    EXPECT_GT(capacity, 192 * k_mib);
    EXPECT_EQ(sized(k_mib).error().code, Code::kNoSpace);
}

TEST(PlanRequestTest, SeveralWithoutAChassisAreSeveralChassis) {
    auto const plan = asked(six_with_pool(), Json{{"change", "add"}, {"location", "z1/r1"}, {"count", 2}});
    ASSERT_TRUE(plan.has_value());
    auto const after = mesh::apply_events(six_with_pool(), plan->events);
    ASSERT_TRUE(after.has_value());
    EXPECT_NE(after->find(plan->newcomers[0])->location, after->find(plan->newcomers[1])->location);
}

TEST(PlanRequestTest, OneThatIsFormattedAlreadyIsNamed) {
    auto const plan = asked(six_with_pool(), Json{{"change", "add"}, {"id", "00000000000000ff"}});
    ASSERT_TRUE(plan.has_value());
    EXPECT_EQ(plan->newcomers, std::vector{CoreletId(255)});
}

TEST(PlanRequestTest, WhatIsRefusedSaysWhy) {
    mesh::Map const map = six_with_pool();
    mesh::Map const three = with_pool(make_map(3), "ec:2+1", mesh::Level::kCorelet);
    struct Case {
        const mesh::Map& map;
        Json arguments;
        Code code;
        const char* says;
    };
    std::vector<Case> const cases{
        {map, Json{{"change", "add"}, {"count", 0}}, Code::kInvalid, "1 to 64"},
        {map, Json{{"change", "add"}, {"count", 65}}, Code::kInvalid, "1 to 64"},
        {map, Json{{"change", "add"}, {"location", "a/b/c/d"}}, Code::kInvalid, ""},
        {map, Json{{"change", "add"}, {"id", "xyz"}}, Code::kInvalid, "16 hex digits"},
        {map, Json{{"change", "add"}, {"id", id_of(3)}}, Code::kExists, "already"},
        {map, Json{{"change", "add"}, {"id", id_of(99)}, {"count", 2}}, Code::kInvalid, "--count"},
        {map, Json{{"change", "drain"}, {"id", id_of(77)}}, Code::kNotFound, "corelet status"},
        {three, Json{{"change", "drain"}, {"id", id_of(1)}}, Code::kInvalid, "corelet join"},
        {map, Json{{"change", "pool.create"}, {"name", "q"}, {"redundancy", "raid5"}}, Code::kInvalid, ""},
        {map, Json{{"change", "pool.change"}, {"name", "q"}}, Code::kNotFound, "corelet pool ls"},
        {map, Json{{"change", "pool.change"}, {"name", "main"}, {"redundancy", "rep:2"}}, Code::kInvalid, "fixed"},
        {map, Json{{"change", "dance"}}, Code::kInvalid, "add, drain, remove"},
    };
    for (const Case& each : cases) {
        auto const plan = asked(each.map, each.arguments);
        ASSERT_FALSE(plan.has_value()) << each.arguments.dump();
        EXPECT_EQ(plan.error().code, each.code) << each.arguments.dump() << plan.error().to_string();
        EXPECT_NE(plan.error().message.find(each.says), std::string::npos) << plan.error().message;
    }
}

struct Told {
    mesh::Map map = six_with_pool();
    std::map<PoolId, mesh::SlotLoads> loads;
    std::map<CoreletId, DeviceUse> devices;
    std::vector<CoreletId> voters{CoreletId(1), CoreletId(2), CoreletId(3), CoreletId(4), CoreletId(5)};
    PlanOutlook look;

    Told() {
        for (const mesh::Corelet& corelet : map.corelets)
            devices[corelet.id] = {1 * k_gib, map.pools[0].current().places_of(corelet.id).size() * k_mib, 0};
    }
    Json tell(const Json& arguments) {
        auto const request = asked(map, arguments);
        EXPECT_TRUE(request.has_value()) << request.error().to_string();
        auto maps = planned_maps(map, *request);
        EXPECT_TRUE(maps.has_value()) << maps.error().to_string();
        u32 const slots = mesh::slots_to_count(map, maps->moved, map.pools[0].id);
        u32 const halves = slots / map.pools[0].current().slots();
        loads[map.pools[0].id] = mesh::SlotLoads(slots, mesh::Load{4 / halves, k_mib / halves, k_mib / halves});
        look = outlook(*std::move(maps), voters, loads);
        LossView now{map, voters, {}, {}, {}, {}, {}, true};
        now.streams.push_back({"volume v", map.pools[0].id, {{false, {CoreletId(1), CoreletId(3)}}}});
        return describe_plan(*request, look, now, devices);
    }
    static const Json& row(const Json& plan, const std::string& id) {
        for (const Json& each : plan.at("corelets"))
            if (each["id"] == id) return each;
        static const Json nothing;
        return nothing;
    }
};

TEST(PlanOutlookTest, WhoDrainsIsGoneAfterwardsAndTheOthersHoldItAll) {
    Told t;
    Json const plan = t.tell(Json{{"change", "drain"}, {"id", id_of(2)}});
    u64 before = 0, after = 0;
    for (const Json& each : plan["corelets"]) {
        before += each["used_before_bytes"].get<u64>();
        after += each["used_after_bytes"].get<u64>();
    }
    EXPECT_EQ(before, after) << "what one hands on others take in";
    const Json& leaving = Told::row(plan, id_of(2));
    EXPECT_EQ(leaving["used_after_bytes"], 0);
    EXPECT_EQ(leaving["stays"], false);
    EXPECT_TRUE(plan["fits"].get<bool>());
    EXPECT_EQ(t.look.maps.after.find(CoreletId(2)), nullptr);
    EXPECT_EQ(std::ranges::count(t.look.voters_after, CoreletId(2)), 0) << "its vote goes to another";
    EXPECT_EQ(plan["before"]["can_lose"], 1);
    EXPECT_EQ(plan["during"]["can_lose"], 1);
    EXPECT_EQ(plan["after"]["can_lose"], 1);
}

TEST(PlanOutlookTest, ALossCostsOneUntilItIsMadeGood) {
    Told t;
    Json const plan = t.tell(Json{{"change", "remove"}, {"id", id_of(2)}});
    EXPECT_EQ(plan["before"]["can_lose"], 1);
    EXPECT_EQ(plan["during"]["can_lose"], 0);
    EXPECT_EQ(plan["after"]["can_lose"], 1);
    EXPECT_EQ(plan["moved"], plan["rebuilt"]);
}

TEST(PlanOutlookTest, ItSaysWhenADeviceWouldBeTooFull) {
    Told t;
    for (auto& [id, use] : t.devices) use.capacity_bytes = use.used_bytes * 105 / 100;
    Json const plan = t.tell(Json{{"change", "drain"}, {"id", id_of(2)}});
    EXPECT_FALSE(plan["fits"].get<bool>());
    usize full = 0;
    for (const Json& each : plan["corelets"]) full += each["fits"].get<bool>() ? 0U : 1U;
    EXPECT_EQ(full, 5U) << "each that takes some in, and not the one that goes";
}

TEST(PlanOutlookTest, TimeGoesByWhatWasMeasuredWhereItWas) {
    Told t;
    Json const assumed = t.tell(Json{{"change", "drain"}, {"id", id_of(2)}});
    EXPECT_EQ(assumed["pace"], "assumed");
    EXPECT_EQ(assumed["bytes_per_second"], k_assumed_bytes_per_second);
    for (auto& [id, use] : t.devices) use.bytes_per_second = k_mib;
    Json const measured = t.tell(Json{{"change", "drain"}, {"id", id_of(2)}});
    EXPECT_EQ(measured["pace"], "measured");
    u64 const handed_on = Told::row(measured, id_of(2))["out"]["bytes"].get<u64>();
    EXPECT_EQ(measured["seconds"], div_ceil(handed_on, k_mib)) << "the one that hands everything on is the last";
}

TEST(PlanOutlookTest, ANewcomerIsNamedWithWhatItTakes) {
    Told t;
    Json const plan = t.tell(Json{{"change", "add"}, {"id", "00000000000000ff"}, {"size_bytes", k_gib}});
    const Json& fresh = Told::row(plan, "00000000000000ff");
    ASSERT_FALSE(fresh.is_null());
    EXPECT_EQ(fresh["in"], plan["moved"]);
    EXPECT_EQ(fresh["used_before_bytes"], 0);
    EXPECT_EQ(fresh["used_after_bytes"], fresh["in"]["bytes"]) << "one unit for each byte here";
    EXPECT_EQ(plan["after"]["can_lose"], 1);
}

}  // namespace
}  // namespace corelet
