// Devices put in and pulled out, and nothing typed: each history of them leaves a mesh that is whole.
#include <gtest/gtest.h>

#include "tests/mesh/ready_mesh.h"
#include "tests/mesh/sim_bays.h"

namespace corelet {
namespace {

using namespace testing_mesh;

// What people wait for beside the bay.
constexpr Duration k_filling_within = 10_s;
constexpr Duration k_missed_within = 10_s;
constexpr Duration k_whole_within = 300_s;
constexpr u64 k_blocks = 24;

SimMeshOptions four_and_bays(usize bays) {
    SimMeshOptions options;
    options.corelets = 4;
    options.spare_machines = bays;
    options.spare_device_bytes = options.device_bytes;
    return options;
}

class BayedMesh {
  public:
    explicit BayedMesh(u64 seed, usize bays) : ready(seed, four_and_bays(bays), "ec:2+1"), bays(ready.mesh) {
        EXPECT_TRUE(fill(ready.mesh, "v", 0, k_blocks)) << why(ready.world);
        EXPECT_TRUE(whole()) << why(ready.world);
    }

    bool within(Duration bound, const std::function<bool()>& condition) {
        return ready.world.run_until(condition, bound);
    }
    const mesh::Corelet* in_map(CoreletId id) { return ready.mesh.node(0)->services().maps->current()->find(id); }
    bool is_up(CoreletId id) {
        auto const* const corelet = in_map(id);
        return corelet && corelet->is_up();
    }
    // Up, and holds something.
    bool fills(usize bay) {
        CoreletNode* const node = bays.node(bay);
        return node && is_up(node->id()) && node->services().store->fragment_count() > 0;
    }
    bool forgot(usize bay) { return bays.node(bay) && bays.node(bay)->services().store->has_forgotten(); }
    CoreletId id_in(usize bay) { return bays.node(bay)->id(); }
    // Nothing is to be healed or moved.
    bool whole() {
        auto const until = ready.world.now() + k_whole_within;
        while (ready.world.now() < until) {
            if (answer_to(ready.mesh, "status").value("health", "") == "ok") return true;
            ready.world.run_for(1_s);
        }
        return false;
    }
    void expect_data() {
        EXPECT_TRUE(check(ready.mesh, "v", 0, k_blocks)) << why(ready.world);
        EXPECT_FALSE(ready.world.failed()) << why(ready.world);
    }

    Ready ready;
    SimBays bays;
};

TEST(BaysSim, ABlankDeviceFillsWithinTenSecondsAndOnePulledIsMissedAndHealed) {
    BayedMesh m(71, 1);
    m.bays.insert_blank(0);
    ASSERT_TRUE(m.within(k_filling_within, [&] { return m.fills(0); })) << why(m.ready.world);
    ASSERT_TRUE(m.whole()) << why(m.ready.world);
    CoreletId const id = m.id_in(0);
    (void)m.bays.pull(0);
    ASSERT_TRUE(m.within(k_missed_within, [&] { return !m.is_up(id); })) << why(m.ready.world);
    EXPECT_EQ(m.bays.node(0), nullptr) << "its process is gone too";
    ASSERT_TRUE(m.within(60_s, [&] { return m.in_map(id)->presence == mesh::Presence::kOut; }))
        << why(m.ready.world);
    EXPECT_TRUE(m.whole()) << why(m.ready.world);
    m.expect_data();
}

TEST(BaysSim, TheSameDeviceIsTheSameCoreletInWhicheverBay) {
    BayedMesh m(72, 2);
    m.bays.insert_blank(0);
    ASSERT_TRUE(m.within(k_filling_within, [&] { return m.fills(0); })) << why(m.ready.world);
    ASSERT_TRUE(m.whole()) << why(m.ready.world);
    CoreletId const id = m.id_in(0);
    usize const members = m.ready.mesh.node(0)->services().maps->current()->corelets.size();
    auto const device = m.bays.pull(0);
    ASSERT_TRUE(m.within(k_missed_within, [&] { return !m.is_up(id); })) << why(m.ready.world);
    m.bays.insert(1, device);
    ASSERT_TRUE(m.within(k_filling_within, [&] { return m.fills(1); })) << why(m.ready.world);
    EXPECT_EQ(m.id_in(1), id);
    EXPECT_EQ(m.ready.mesh.node(0)->services().maps->current()->corelets.size(), members);
    EXPECT_TRUE(m.whole()) << why(m.ready.world);
    m.expect_data();
}

// An image of a disk in another bay, while the disk is in use.
TEST(BaysSim, OfTwoDevicesWithOneIdentityOneCounts) {
    BayedMesh m(73, 2);
    m.bays.insert_blank(0);
    ASSERT_TRUE(m.within(k_filling_within, [&] { return m.fills(0); })) << why(m.ready.world);
    ASSERT_TRUE(m.whole()) << why(m.ready.world);
    CoreletId const id = m.id_in(0);
    m.bays.insert(1, m.bays.copy_of(0));
    ASSERT_TRUE(m.within(60_s, [&] { return m.forgot(0) || m.forgot(1); })) << why(m.ready.world);
    m.ready.world.run_for(30_s);
    EXPECT_NE(m.forgot(0), m.forgot(1)) << "one of them is the corelet" << why(m.ready.world);
    EXPECT_TRUE(m.is_up(id)) << why(m.ready.world);
    ASSERT_TRUE(fill(m.ready.mesh, "v", 0, k_blocks)) << why(m.ready.world);
    m.expect_data();
}

// A history of somebody at the bays. At most one loss at a time, which is what the pool bears; all else as it
// comes.
class Visit {
  public:
    explicit Visit(u64 seed) : m_(seed, 3), rng_(seed * 7919) {}

    void run(int steps) {
        for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
            usize const bay = rng_.below(m_.bays.size());
            if (!m_.bays.is_empty(bay))
                rng_.chance(1, 4) ? kill(bay) : pull(bay);
            else if (hand_ && rng_.chance(2, 3))
                put_back(bay);
            else
                put_in_blank(bay);
            m_.ready.world.run_for(Duration{static_cast<i64>(rng_.below(3'000'000'000))});
        }
        EXPECT_TRUE(m_.whole()) << told() << why(m_.ready.world);
        m_.expect_data();
    }
    std::map<std::string, int> seen;

  private:
    std::string told() const {
        std::string out;
        for (const std::string& line : m_.bays.told()) out += "\n" + line;
        return out;
    }
    void put_in_blank(usize bay) {
        ++seen["blank"];
        m_.bays.insert_blank(bay);
        // One that is pulled out again before it is anything has troubled nobody.
        if (rng_.chance(1, 4)) {
            ++seen["blank, pulled at once"];
            m_.ready.world.run_for(Duration{static_cast<i64>(rng_.below(2'000'000'000))});
            (void)m_.bays.pull(bay);
            return;
        }
        EXPECT_TRUE(m_.within(k_filling_within, [&] { return m_.fills(bay); })) << told() << why(m_.ready.world);
    }
    void pull(usize bay) {
        if (!m_.bays.node(bay) || !m_.whole()) return;
        ++seen["pulled"];
        CoreletId const id = m_.id_in(bay);
        hand_ = {id, m_.bays.pull(bay)};
        EXPECT_TRUE(m_.within(k_missed_within, [&] { return !m_.is_up(id); })) << told() << why(m_.ready.world);
        if (rng_.chance(1, 2)) return;
        ++seen["given up and healed"];
        EXPECT_TRUE(
            m_.within(60_s, [&] { return !m_.in_map(id) || m_.in_map(id)->presence == mesh::Presence::kOut; }));
        EXPECT_TRUE(m_.whole()) << told() << why(m_.ready.world);
    }
    // Whatever became of it meanwhile: it is itself again, or somebody else took its place and it is a new one.
    void put_back(usize bay) {
        auto const [id, device] = *std::exchange(hand_, std::nullopt);
        bool const in_the_mesh = m_.in_map(id) != nullptr;
        ++seen[in_the_mesh ? "back" : "back, replaced meanwhile"];
        m_.bays.insert(bay, device);
        EXPECT_TRUE(m_.within(60_s, [&] { return m_.bays.node(bay) && m_.is_up(m_.id_in(bay)); }))
            << told() << why(m_.ready.world);
        if (m_.bays.node(bay)) EXPECT_EQ(m_.id_in(bay) == id, in_the_mesh) << told();
    }
    // Its process dies, and is started again by nobody but the keeper.
    void kill(usize bay) {
        if (m_.bays.state(bay) != app::BayState::kServing || !m_.bays.node(bay)) return;
        ++seen["killed"];
        CoreletId const id = m_.id_in(bay);
        m_.bays.kill(bay);
        EXPECT_TRUE(m_.within(60_s, [&] { return m_.bays.node(bay) && m_.is_up(id); })) << told();
        if (m_.bays.node(bay)) EXPECT_EQ(m_.id_in(bay), id);
    }

    BayedMesh m_;
    Prng rng_;
    std::optional<std::pair<CoreletId, PulledDevice>> hand_;
};

TEST(SlowBaysSim, AnyHistoryOfDevicesLeavesTheMeshWhole) {
    std::map<std::string, int> seen;
    for (u64 seed = 1; seed <= 6 && !HasFailure(); ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Visit visit(seed);
        visit.run(10);
        for (auto const& [what, times] : visit.seen) seen[what] += times;
    }
    for (const char* what : {"blank", "blank, pulled at once", "pulled", "given up and healed", "back", "killed"})
        EXPECT_GT(seen[what], 0) << what;
    for (auto const& [what, times] : seen) RecordProperty(what, times);
}

}  // namespace
}  // namespace corelet
