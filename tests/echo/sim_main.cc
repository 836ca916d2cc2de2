// The echo story as a scenario: for replaying a seed, and for comparing runs of one seed in two processes.
#include "sim/scenario.h"
#include "sim_habitat.h"
#include "story.h"

namespace corelet::echo {
namespace {

Result<void> scenario(sim::World& world, const sim::ScenarioParameters& parameters) {
    SimHabitat habitat(world);
    Ledger ledger;
    StoryOptions options;
    options.seed = world.seed();
    options.crashes = parameters.number("crashes", options.crashes);
    options.forgetful = parameters.number("forgetful", 0) != 0;
    auto result = run_story(habitat, options, ledger);
    for (auto const& [pair, counts] : ledger.pairs) {
        world.stats().count("echo.answers", counts.answers);
        world.stats().count("echo.failures", counts.failures);
    }
    return result;
}

}  // namespace
}  // namespace corelet::echo

int main(int argc, char** argv) {
    using namespace corelet;
    sim::ScenarioRegistry registry;
    registry.add({"echo",
                  "three echo corelets, a partition, crashes of disks",
                  echo::scenario,
                  {},
                  {{"crashes", 0, 6}},
                  {}});
    return sim::scenario_main(argc, argv, registry);
}
