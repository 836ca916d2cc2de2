// The echo story in the simulated world.
#include <gtest/gtest.h>

#include "sim_habitat.h"
#include "story.h"

namespace corelet::echo {
namespace {

struct Outcome {
    Result<void> result;
    u64 hash = 0;
    u64 answers = 0;
    sim::Stats stats;
};
Outcome tell(u64 seed, bool forgetful = false) {
    sim::World world(seed);
    SimHabitat habitat(world);
    Ledger ledger;
    StoryOptions options;
    options.seed = seed;
    options.forgetful = forgetful;
    Outcome outcome;
    outcome.result = run_story(habitat, options, ledger);
    outcome.hash = world.hash();
    for (auto const& [pair, counts] : ledger.pairs) outcome.answers += counts.answers;
    outcome.stats = world.stats();
    if (world.failed()) outcome.result = fail(Code::kCorrupt, world.failure());
    return outcome;
}

TEST(EchoInTheSimulator, NumbersAreGivenOnceThroughPartitionsAndDiskCrashes) {
    sim::Stats sum;
    for (u64 seed = 1; seed <= 50; ++seed) {
        Outcome const outcome = tell(seed);
        ASSERT_TRUE(outcome.result) << "seed " << seed << ": " << outcome.result.error().to_string();
        sum.add(outcome.stats);
    }
    EXPECT_GT(sum.faults(sim::FaultKind::kPartition), 50U);
    EXPECT_GT(sum.faults(sim::FaultKind::kPowerLoss), 200U);
    EXPECT_GT(sum.faults(sim::FaultKind::kLostWrite) + sum.faults(sim::FaultKind::kTornWrite), 50U) << sum.line();
}

TEST(EchoInTheSimulator, TheSameSeedTwiceGivesTheSameEvents) {
    for (u64 seed = 1; seed <= 5; ++seed) {
        Outcome const first = tell(seed);
        Outcome const second = tell(seed);
        EXPECT_EQ(first.hash, second.hash);
        EXPECT_EQ(first.answers, second.answers);
        EXPECT_NE(first.hash, tell(seed + 100).hash);
    }
}

TEST(EchoInTheSimulator, OneThatAnswersBeforeItIsDurableIsCaught) {
    usize caught = 0;
    for (u64 seed = 1; seed <= 10; ++seed) caught += tell(seed, true).result ? 0 : 1;
    EXPECT_GE(caught, 9U);
}

}  // namespace
}  // namespace corelet::echo
