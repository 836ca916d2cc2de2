// Who a corelet is (protocols 1): devices that were rolled back, mounted twice, lost; corelets that were put out
// and come back.
#include <gtest/gtest.h>

#include "base/json.h"
#include "node/mesh_view.h"
#include "tests/mesh/ready_mesh.h"

namespace corelet {
namespace {

using namespace testing_mesh;

const mesh::Corelet* in_map(SimMesh& mesh, usize asked, CoreletId id) {
    return mesh.node(asked) ? mesh.node(asked)->services().maps->current()->find(id) : nullptr;
}

// One that owns nothing and, if so asked, votes.
std::optional<usize> bystander(SimMesh& mesh, bool votes) {
    auto const owner = mesh.server_of("v");
    for (usize i = 0; i < mesh.size(); ++i) {
        if (!mesh.node(i) || owner == i || mesh.node(i)->services().raft->is_leader()) continue;
        auto const voters = mesh.node(i)->services().catalog->voters();
        bool const is_voter = std::find(voters.begin(), voters.end(), mesh.id(i)) != voters.end();
        if (is_voter == votes) return i;
    }
    return std::nullopt;
}

sim::MediaFile& device_of(SimMesh& mesh, usize index) {
    return *mesh.machine(index).media().find(mesh.device_path(index));
}

// Everything that a write leaves behind has been told to the catalog and the peers.
void let_it_sink_in(Ready& r) {
    r.world.run_for(15_s);
}

struct OldImage : ::testing::TestWithParam<bool> {};

TEST_P(OldImage, IsFoundOutAndItsPromisesAreVoid) {
    bool const voter = GetParam();
    Ready r(41, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 20)) << why(r.world);
    auto const victim = bystander(r.mesh, voter);
    ASSERT_TRUE(victim.has_value());
    let_it_sink_in(r);
    auto image = device_of(r.mesh, *victim).snapshot();
    CoreletId const former = r.mesh.id(*victim);
    ASSERT_TRUE(fill(r.mesh, "v", 20, 60)) << why(r.world);
    r.world.run_for(3_s);

    r.mesh.machine(*victim).crash();
    device_of(r.mesh, *victim).roll_back(std::move(image));
    r.mesh.start(*victim);
    auto const forgotten = [&] {
        return r.mesh.node(*victim) && r.mesh.node(*victim)->services().store->has_forgotten();
    };
    ASSERT_TRUE(r.world.run_until(forgotten, 20_s)) << why(r.world);
    usize const asked = *r.mesh.server_of("v");
    auto& services = r.mesh.node(*victim)->services();
    EXPECT_TRUE(services.raft->core().barred()) << "it votes no more";
    // For its former self it neither fences nor tells a log's end, nor takes records.
    for (const SegmentInfo& segment : services.store->list_segments()) {
        usize const owner = asked;
        auto& port = *r.mesh.node(owner)->services().replica_port;
        auto const fenced = r.world.run(
            r.mesh.machine(owner),
            port.fence(former, segment.id, Epoch(1000), r.mesh.node(owner)->services().env.clock.now() + 5_s));
        ASSERT_TRUE(fenced.has_value());
        EXPECT_FALSE(fenced->has_value()) << to_string(segment.id);
        auto const beat = r.world.run(r.mesh.machine(owner), port.heartbeat(former, segment.id, segment.epoch));
        ASSERT_TRUE(beat.has_value());
        EXPECT_FALSE(beat->has_value()) << to_string(segment.id);
    }
    // The others give it up, and nothing is lost.
    auto const given_up = [&] {
        auto const* const corelet = in_map(r.mesh, asked, former);
        return !corelet || corelet->presence == mesh::Presence::kOut;
    };
    EXPECT_TRUE(r.world.run_until(given_up, 60_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 80)) << why(r.world);

    // Started again it is somebody else, in the same place, with what it held as strays.
    r.mesh.machine(*victim).crash();
    r.mesh.start(*victim);
    auto const renamed = [&] {
        if (!r.mesh.node(*victim)) return false;
        CoreletId const now = r.mesh.node(*victim)->id();
        auto const* const corelet = in_map(r.mesh, asked, now);
        return now != former && corelet && corelet->is_up();
    };
    EXPECT_TRUE(r.world.run_until(renamed, 30_s)) << why(r.world);
    EXPECT_EQ(r.mesh.id(*victim), r.mesh.node(*victim)->id()) << "judges look for it under its new name";
    EXPECT_EQ(r.mesh.index_of(former), std::nullopt);
    EXPECT_TRUE(check(r.mesh, "v", 0, 80)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

INSTANTIATE_TEST_SUITE_P(IdentitySim, OldImage, ::testing::Values(false, true),
                         [](const auto& info) { return info.param ? "OfAVoter" : "OfAReplica"; });

TEST(IdentitySim, OfTwoBodiesOneStops) {
    SimMeshOptions options = six();
    options.corelets = 5;
    options.spare_machines = 1;
    Ready r(42, options, "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 20)) << why(r.world);
    let_it_sink_in(r);
    auto const victim = bystander(r.mesh, true);
    ASSERT_TRUE(victim.has_value());
    usize const twin = r.mesh.spare(0);
    r.mesh.machine(*victim).crash();
    r.mesh.start_copy(twin, *victim);
    r.mesh.start(*victim);
    auto const stopped = [&](usize i) {
        return r.mesh.node(i) && r.mesh.node(i)->services().store->has_forgotten();
    };
    ASSERT_TRUE(r.world.run_until([&] { return stopped(*victim) || stopped(twin); }, 30_s)) << why(r.world);
    r.world.run_for(30_s);
    EXPECT_NE(stopped(*victim), stopped(twin)) << "one of them is the corelet" << why(r.world);
    usize const stays = stopped(twin) ? *victim : twin;
    EXPECT_FALSE(r.mesh.node(stays)->services().raft->core().barred()) << "and votes again" << why(r.world);
    ASSERT_TRUE(fill(r.mesh, "v", 20, 20)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(IdentitySim, AnEmptyDeviceInheritsThePlaceAndNeverTheName) {
    Ready r(43, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    auto const victim = bystander(r.mesh, true);
    ASSERT_TRUE(victim.has_value());
    CoreletId const former = r.mesh.id(*victim);
    r.mesh.machine(*victim).crash();
    auto const down = [&] {
        auto const* const corelet = in_map(r.mesh, *r.mesh.server_of("v"), former);
        return corelet && corelet->presence == mesh::Presence::kDown;
    };
    ASSERT_TRUE(r.world.run_until(down, 20_s)) << why(r.world);
    r.mesh.start_empty(*victim);
    CoreletId const fresh = r.mesh.id(*victim);
    auto const in_its_place = [&] {
        auto const* const corelet = in_map(r.mesh, *r.mesh.server_of("v"), fresh);
        return corelet && corelet->is_up() && !corelet->former.empty() && corelet->former.front().id == former;
    };
    EXPECT_TRUE(r.world.run_until(in_its_place, 30_s)) << why(r.world);
    EXPECT_EQ(in_map(r.mesh, *r.mesh.server_of("v"), former), nullptr);
    auto const voters_changed = [&] {
        auto const voters = r.mesh.node(*r.mesh.server_of("v"))->services().catalog->voters();
        return std::find(voters.begin(), voters.end(), former) == voters.end() && voters.size() == 5;
    };
    EXPECT_TRUE(r.world.run_until(voters_changed, 60_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

TEST(IdentitySim, PutOutAndBackItGoesOnUnderANewIncarnation) {
    Ready r(44, six(), "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 40)) << why(r.world);
    auto const victim = bystander(r.mesh, false);
    ASSERT_TRUE(victim.has_value());
    CoreletId const id = r.mesh.id(*victim);
    Incarnation const before = r.mesh.node(*victim)->services().store->incarnation();
    u64 const boots = r.mesh.machine(*victim).boots();
    std::vector<u32> others;
    for (u32 i = 0; i < 6; ++i)
        if (i != *victim) others.push_back(i);
    r.world.partition({static_cast<u32>(*victim)}, others);
    usize const asked = *r.mesh.server_of("v");
    ASSERT_TRUE(
        r.world.run_until([&] { return in_map(r.mesh, asked, id)->presence == mesh::Presence::kOut; }, 60_s))
        << why(r.world);
    for (u32 i : others)
        EXPECT_TRUE(in_map(r.mesh, i, r.mesh.id(i))->is_up())
            << "one that is cut off puts nobody else down: c" << i + 1;
    r.world.heal_network();
    auto const back = [&] {
        auto const* const corelet = in_map(r.mesh, asked, id);
        return corelet && corelet->is_up() && corelet->incarnation > before;
    };
    EXPECT_TRUE(r.world.run_until(back, 30_s)) << why(r.world);
    EXPECT_EQ(r.mesh.machine(*victim).boots(), boots) << "without restarting";
    // And it stays: its heartbeats are heard under the new incarnation.
    r.world.run_for(20_s);
    EXPECT_TRUE(back()) << why(r.world);
    EXPECT_EQ(r.mesh.node(asked)->services().gossip->membership().health(id), mesh::PeerHealth::kReached);
    EXPECT_TRUE(check(r.mesh, "v", 0, 40)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// It is cut off again just when the map has it: nobody tells it so, and that life, too, is over when it comes back.
TEST(IdentitySim, PutOutAgainBeforeItHearsThatItIsBack) {
    Ready r(441, six(), "ec:2+1");
    auto const victim = bystander(r.mesh, false);
    ASSERT_TRUE(victim.has_value());
    CoreletId const id = r.mesh.id(*victim);
    Incarnation const before = r.mesh.node(*victim)->services().store->incarnation();
    std::vector<u32> others;
    for (u32 i = 0; i < 6; ++i)
        if (i != *victim) others.push_back(i);
    auto const leader = [&]() -> usize {
        for (u32 i : others)
            if (r.mesh.node(i)->services().raft->is_leader()) return i;
        return others.front();
    };
    auto const is_out = [&] { return in_map(r.mesh, leader(), id)->presence == mesh::Presence::kOut; };
    auto const is_back = [&] {
        return in_map(r.mesh, leader(), id)->is_up() &&
               in_map(r.mesh, leader(), id)->incarnation == r.mesh.node(*victim)->services().store->incarnation();
    };
    for (u64 time = 1; time <= 2; ++time) {
        r.world.partition({static_cast<u32>(*victim)}, others);
        ASSERT_TRUE(r.world.run_until(is_out, 60_s)) << time << why(r.world);
        r.world.heal_network();
        ASSERT_TRUE(r.world.run_until(is_back, 60_s)) << time << why(r.world);
        EXPECT_EQ(r.mesh.node(*victim)->services().store->incarnation().v, before.v + time);
    }
    r.world.run_for(20_s);
    EXPECT_TRUE(is_back()) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// While a second body of a voter shows itself the voter votes for nobody, and it is asked whether it does: what it
// said before that proves nothing.
TEST(IdentitySim, WhoDoesNotAnswerIsNotCountedOnForAVote) {
    Ready r(46, six(), "ec:2+1");
    NodeServices& asker = r.mesh.node(0)->services();
    ASSERT_EQ(asker.gossip->membership().health(r.mesh.id(1)), mesh::PeerHealth::kReached) << why(r.world);
    MeshView view;
    view.map = asker.maps->current();
    for (usize i = 0; i < r.mesh.size(); ++i) {
        if (i != 1) view.reports[r.mesh.id(i)] = {Json{{"votes", true}}, i == 2 ? 3_s : Duration{}};
    }
    view.reports[r.mesh.id(3)].info["votes"] = false;
    EXPECT_EQ(loss_view(asker, view).barred, (std::set{r.mesh.id(1), r.mesh.id(2), r.mesh.id(3)}))
        << "one that gave no answer, one whose answer is three seconds old, one that says so";
}

// Its image is so old that it knows neither map nor voters: whom it asks for them, by an address alone, tells it.
TEST(IdentitySim, AnImageFromBeforeItKnewTheMeshIsFoundOut) {
    SimMeshOptions options = six();
    options.corelets = 7;
    options.late = 1;
    Ready r(47, options, "ec:2+1");
    r.mesh.join(6, mesh::Role::kStorage);
    ASSERT_TRUE(r.world.run_until([&] { return r.mesh.node(6) != nullptr; }, 20_s)) << why(r.world);
    auto image = device_of(r.mesh, 6).snapshot();
    CoreletId const former = r.mesh.id(6);
    auto const is_in = [&] {
        auto const* const corelet = in_map(r.mesh, 0, r.mesh.id(6));
        return corelet && corelet->is_up();
    };
    ASSERT_TRUE(r.world.run_until(is_in, 20_s)) << why(r.world);
    let_it_sink_in(r);
    r.mesh.machine(6).crash();
    device_of(r.mesh, 6).roll_back(std::move(image));
    r.mesh.start(6);
    auto const forgotten = [&] { return r.mesh.node(6) && r.mesh.node(6)->services().store->has_forgotten(); };
    ASSERT_TRUE(r.world.run_until(forgotten, 20_s)) << why(r.world);
    r.mesh.machine(6).crash();
    r.mesh.start(6);
    EXPECT_TRUE(r.world.run_until([&] { return r.mesh.id(6) != former && is_in(); }, 30_s)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

// The device remembers the map, the voters and where they were: none of it is true any more when it comes back.
// Whoever saw it in the map, and brings it in again after an operator's word has come between, is refused.
TEST(IdentitySim, WhoWasRemovedIsBroughtInByNobody) {
    Ready r(47, six(), "ec:2+1");
    auto const victim = bystander(r.mesh, false);
    ASSERT_TRUE(victim.has_value());
    usize const asked = *r.mesh.server_of("v");
    CoreletId const id = r.mesh.id(*victim);
    mesh::Corelet const former = *in_map(r.mesh, asked, id);
    r.mesh.machine(*victim).crash();
    std::string error;
    bool removed = false;
    for (int second = 0; second < 120 && !removed; ++second) {
        r.world.run_for(1_s);
        removed = r.mesh.command("corelet.remove", Json{{"id", to_string(id)}}.dump(), &error).has_value();
    }
    ASSERT_TRUE(removed) << error << why(r.world);
    ASSERT_EQ(in_map(r.mesh, asked, id), nullptr);
    auto const brought_in = [&](const mesh::Corelet& who) {
        auto& services = r.mesh.node(asked)->services();
        Instant const deadline = services.env.clock.now() + 5_s;
        auto const done =
            r.world.run(r.mesh.machine(asked), services.maps->change(mesh::CoreletJoined{who}, deadline), 20_s);
        return done && *done;
    };
    EXPECT_FALSE(brought_in(former));
    EXPECT_EQ(in_map(r.mesh, asked, id), nullptr);
    mesh::Corelet other = former;
    other.id = CoreletId(former.id.v + 1);
    EXPECT_TRUE(brought_in(other)) << "anybody else may come";
}

TEST(IdentitySim, WhoWasAwayWhileAllOthersWereReplacedComesBack) {
    SimMeshOptions options;
    options.corelets = 4;
    Ready r(45, options, "ec:2+1");
    ASSERT_TRUE(fill(r.mesh, "v", 0, 20)) << why(r.world);
    let_it_sink_in(r);
    auto const away = bystander(r.mesh, true);
    ASSERT_TRUE(away.has_value());
    // Three vote, none of them is `former`, and nothing has still to move for it.
    auto const done_without = [&](CoreletId former, usize asked) {
        auto const& services = r.mesh.node(asked)->services();
        auto const voters = services.catalog->voters();
        auto const map = services.maps->current();
        bool const settled = std::all_of(map->pools.begin(), map->pools.end(),
                                         [](const mesh::Pool& pool) { return pool.tables.size() == 1; });
        return voters.size() == 3 && std::find(voters.begin(), voters.end(), former) == voters.end() && settled;
    };
    auto const next = [&](usize i) { return (i + 1) % 4 == *away ? (i + 2) % 4 : (i + 1) % 4; };
    r.mesh.machine(*away).crash();
    ASSERT_TRUE(r.world.run_until([&] { return done_without(r.mesh.id(*away), next(*away)); }, 60_s))
        << why(r.world);
    for (usize i = 0; i < 4; ++i) {
        if (i == *away) continue;
        CoreletId const former = r.mesh.id(i);
        r.mesh.machine(i).crash();
        r.mesh.start_empty(i);
        auto const replaced = [&] {
            auto const* const corelet = in_map(r.mesh, next(i), r.mesh.id(i));
            return corelet && corelet->is_up() && done_without(former, next(i));
        };
        ASSERT_TRUE(r.world.run_until(replaced, 120_s)) << "c" << i + 1 << why(r.world);
        r.world.run_for(10_s);
    }
    r.mesh.start(*away);
    usize const asked = (*away + 1) % 4;
    auto const back = [&] {
        auto const* const corelet = in_map(r.mesh, asked, r.mesh.id(*away));
        return corelet && corelet->is_up() && r.mesh.node(*away)->services().catalog->is_available();
    };
    EXPECT_TRUE(r.world.run_until(back, 60_s)) << why(r.world);
    EXPECT_TRUE(check(r.mesh, "v", 0, 20)) << why(r.world);
    EXPECT_FALSE(r.world.failed()) << why(r.world);
}

}  // namespace
}  // namespace corelet
