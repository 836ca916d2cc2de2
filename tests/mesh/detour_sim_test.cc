// Two corelets that do not reach each other, in a mesh that reaches both: nobody is dead, traffic between them goes
// through a third, and `status` says so.
#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;
// Between these, both ways.
void cut(Ready& r, usize a, usize b) {
    r.world.partition({static_cast<u32>(a)}, {static_cast<u32>(b)});
}

Json status_at(Ready& r, usize asked) {
    auto const answer = r.mesh.request(asked, "status", "{}");
    EXPECT_TRUE(r.world.run_until([&] { return answer->has_value(); }, 20_s)) << why(r.world);
    return answer->has_value() && **answer ? Json::parse(***answer) : Json::object();
}

// What the status says of the way from one to the other; empty if nothing.
std::string through(Ready& r, usize from, usize to) {
    for (const Json& path : status_at(r, from).value("paths", Json::array()))
        if (path["from"] == to_string(r.mesh.id(from)) && path["to"] == to_string(r.mesh.id(to)))
            return path["through"];
    return "";
}

bool goes_round(Ready& r, usize from, usize to) {
    return r.mesh.node(from)->services().rpc->detours().contains(r.mesh.id(to));
}

// Asks it something of the other over a connection, as its services do.
Task<void> ask(RpcNode* rpc, CoreletId peer, std::shared_ptr<std::optional<bool>> out) {
    auto const answer = co_await rpc->call(peer, Method{0x0001}, {});
    out->emplace(answer.has_value());
}

bool reaches(Ready& r, usize from, usize to) {
    auto out = std::make_shared<std::optional<bool>>();
    r.mesh.spawn(from, ask(r.mesh.node(from)->services().rpc.get(), r.mesh.id(to), out));
    return r.world.run_until([&] { return out->has_value(); }, 20_s) && **out;
}

bool all_up(Ready& r, usize asked) {
    auto const map = r.mesh.node(asked)->services().maps->current();
    return std::ranges::all_of(map->corelets, [](const mesh::Corelet& c) { return c.is_up(); });
}

TEST(DetourSim, EachTwoThatAreCutOffFromEachOtherTalkThroughAThird) {
    Ready r(71, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 10)) << why(r.world);
    usize const owner = *r.mesh.server_of("v"), other = (owner + 1) % 6;
    cut(r, owner, other);
    auto const round = [&] { return goes_round(r, owner, other) && goes_round(r, other, owner); };
    for (int i = 0; i < 20 && !round(); ++i) {
        (void)reaches(r, owner, other);
        (void)reaches(r, other, owner);
    }
    ASSERT_TRUE(round()) << why(r.world);
    EXPECT_TRUE(reaches(r, owner, other));
    EXPECT_TRUE(reaches(r, other, owner));
    EXPECT_NE(through(r, owner, other), "");
    EXPECT_NE(through(r, other, owner), "");
    ASSERT_TRUE(fill(r.mesh, "v", 10, 20)) << why(r.world);
    r.world.run_for(10_s);
    EXPECT_TRUE(all_up(r, owner)) << "nobody is taken for dead";
    EXPECT_EQ(r.mesh.server_of("v"), owner);

    r.world.heal_network();
    ASSERT_TRUE(
        r.world.run_until([&] { return !goes_round(r, owner, other) && !goes_round(r, other, owner); }, 20_s))
        << why(r.world);
    ASSERT_TRUE(r.world.run_until([&] { return through(r, owner, other).empty(); }, 20_s));
    EXPECT_TRUE(check(r.mesh, "v", 0, 30)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// The mesh's chain: each reaches its neighbours in the order of their numbers only, but for the first, whom all
// reach.
TEST(DetourSim, OneThatAllReachIsEnoughForAMesh) {
    Ready r(72, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 10)) << why(r.world);
    for (usize a = 1; a < 6; ++a)
        for (usize b = a + 1; b < 6; ++b) cut(r, a, b);
    ASSERT_TRUE(fill(r.mesh, "v", 10, 20)) << why(r.world);
    r.world.run_for(20_s);
    EXPECT_TRUE(all_up(r, 0)) << why(r.world);
    for (usize a = 1; a < 6; ++a)
        for (usize b = 1; b < 6; ++b)
            if (a != b) EXPECT_TRUE(reaches(r, a, b)) << a << " to " << b;
    EXPECT_TRUE(check(r.mesh, "v", 0, 30)) << why(r.world);
    r.world.heal_network();
    r.world.run_for(20_s);
    for (usize a = 1; a < 6; ++a) EXPECT_TRUE(r.mesh.node(a)->services().rpc->detours().empty()) << a;
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// Packets of one direction only are lost: no answer arrives, so neither way can be used.
TEST(DetourSim, OneWayIsNoWay) {
    Ready r(73, six(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v"), other = (owner + 1) % 6;
    r.world.partition_one_way({static_cast<u32>(owner)}, {static_cast<u32>(other)});
    for (int i = 0; i < 20 && !goes_round(r, owner, other); ++i) (void)reaches(r, owner, other);
    EXPECT_TRUE(goes_round(r, owner, other)) << why(r.world);
    EXPECT_TRUE(reaches(r, owner, other));
    EXPECT_TRUE(reaches(r, other, owner));
    EXPECT_TRUE(all_up(r, owner));
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// Whoever is dead is dead: nobody goes round to it.
TEST(DetourSim, NobodyGoesRoundToTheDead) {
    Ready r(74, six(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v"), dead = (owner + 1) % 6;
    r.mesh.machine(dead).crash();
    auto const down = [&] {
        const mesh::Corelet* const known = r.mesh.node(owner)->services().maps->current()->find(r.mesh.id(dead));
        return known && !known->is_up();
    };
    ASSERT_TRUE(r.world.run_until(down, 10_s)) << why(r.world);
    EXPECT_FALSE(reaches(r, owner, dead));
    EXPECT_FALSE(goes_round(r, owner, dead));
    EXPECT_EQ(through(r, owner, dead), "");
}

}  // namespace
}  // namespace corelet
