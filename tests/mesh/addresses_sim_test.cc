// Corelets with two addresses each, of which one is lost: who talked to it there goes on at the other, nobody is
// taken for dead, and nothing goes through a third.
#include <gtest/gtest.h>

#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

constexpr u16 k_first_port = 7000, k_second_port = 7001;

SimMeshOptions five_with_two_addresses() {
    SimMeshOptions options;
    options.corelets = 5;
    options.two_addresses = true;
    return options;
}

// Asks it something over a connection, as its services do.
Task<void> ask_peer(RpcNode* rpc, CoreletId peer, std::shared_ptr<std::optional<bool>> out) {
    auto const answer = co_await rpc->call(peer, Method{0x0001}, {});
    out->emplace(answer.has_value());
}

bool answers(Ready& r, usize from, usize to) {
    auto out = std::make_shared<std::optional<bool>>();
    r.mesh.spawn(from, ask_peer(r.mesh.node(from)->services().rpc.get(), r.mesh.id(to), out));
    return r.world.run_until([&] { return out->has_value(); }, 20_s) && **out;
}

bool everybody_answers(Ready& r, usize peer) {
    for (usize i = 0; i < r.mesh.size(); ++i)
        if (i != peer && !(answers(r, i, peer) && answers(r, peer, i))) return false;
    return true;
}

// Counts how often the map that corelet `at` has says that somebody is not up.
class UpWatch {
  public:
    UpWatch(Ready& r, usize at) : r_(r), at_(at) {}
    bool all_up_for(Duration time) {
        auto const end = r_.world.now() + time;
        while (r_.world.now() < end) {
            if (!r_.world.run_for(100_ms)) return false;
            auto const map = r_.mesh.node(at_)->services().maps->current();
            for (const mesh::Corelet& corelet : map->corelets)
                if (!corelet.is_up()) return false;
        }
        return true;
    }

  private:
    Ready& r_;
    usize at_;
};

TEST(AddressesSim, ALostAddressIsGoneOnWithoutAtTheOther) {
    for (u16 const lost : {k_first_port, k_second_port}) {
        Ready r(81, five_with_two_addresses(), "ec:2+1");
        ASSERT_TRUE(fill(r.mesh, "v", 0, 10)) << why(r.world);
        usize const owner = *r.mesh.server_of("v"), victim = (owner + 1) % 5;
        ASSERT_EQ(r.mesh.node(owner)->services().maps->current()->find(r.mesh.id(victim))->addresses.size(), 2U);
        r.world.fabric().lose_port(static_cast<u32>(victim), lost);
        UpWatch watch(r, owner);
        EXPECT_TRUE(watch.all_up_for(20_s)) << "port " << lost << ": nobody is taken for dead" << why(r.world);
        EXPECT_TRUE(everybody_answers(r, victim)) << lost << why(r.world);
        for (usize i = 0; i < 5; ++i)
            EXPECT_TRUE(r.mesh.node(i)->services().rpc->detours().empty()) << "c" << i + 1 << " goes round";
        ASSERT_TRUE(fill(r.mesh, "v", 10, 20)) << why(r.world);
        EXPECT_TRUE(check(r.mesh, "v", 0, 30)) << why(r.world);
        // And back: the one that was left is lost, and the other is there again.
        r.world.fabric().restore_port(static_cast<u32>(victim), lost);
        r.world.run_for(5_s);
        r.world.fabric().lose_port(static_cast<u32>(victim), lost == k_first_port ? k_second_port : k_first_port);
        EXPECT_TRUE(watch.all_up_for(20_s)) << "the other way round" << why(r.world);
        EXPECT_TRUE(everybody_answers(r, victim)) << lost << why(r.world);
        EXPECT_FALSE(r.world.failed()) << why(r.world);
    }
}

// The owner of a volume itself: its log goes on in place, or rolls, and no other takes the volume over.
TEST(AddressesSim, AnOwnerThatLosesAnAddressServesOn) {
    Ready r(82, five_with_two_addresses(), "rep:3");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 10)) << why(r.world);
    usize const owner = *r.mesh.server_of("v");
    r.world.fabric().lose_port(static_cast<u32>(owner), k_first_port);
    ASSERT_TRUE(fill(r.mesh, "v", 10, 20)) << why(r.world);
    r.world.run_for(20_s);
    EXPECT_EQ(r.mesh.server_of("v"), owner);
    EXPECT_TRUE(check(r.mesh, "v", 0, 30)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// With both lost it is as dead as can be.
TEST(AddressesSim, OneThatLosesBothIsDown) {
    Ready r(83, five_with_two_addresses(), "ec:2+1");
    usize const owner = *r.mesh.server_of("v"), victim = (owner + 1) % 5;
    for (u16 port : {k_first_port, k_second_port}) r.world.fabric().lose_port(static_cast<u32>(victim), port);
    EXPECT_TRUE(r.world.run_until(
        [&] { return !r.mesh.node(owner)->services().maps->current()->is_up(r.mesh.id(victim)); }, 30_s))
        << why(r.world);
}

}  // namespace
}  // namespace corelet
