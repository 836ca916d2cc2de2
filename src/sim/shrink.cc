// The smallest run that still fails.
#include "sim/scenario.h"

namespace corelet::sim {

namespace {

bool still_fails(const Scenario& scenario, u64 seed, const ScenarioParameters& parameters) {
    return !run_scenario(scenario, seed, parameters).ok();
}

// Leaves out one kind of fault after the other, as long as the run goes on failing.
void drop_faults(const Scenario& scenario, u64 seed, ScenarioParameters& parameters,
                 const std::function<void(std::string_view)>& progress) {
    u64 hash = run_scenario(scenario, seed, parameters).hash;
    for (const std::string& name : scenario.droppable) {
        ScenarioParameters fewer = parameters;
        std::string& without = fewer.values["without"];
        if (!without.empty()) without += ',';
        without += name;
        auto const outcome = run_scenario(scenario, seed, fewer);
        if (outcome.ok() || outcome.hash == hash) continue;  // needed, or never there
        hash = outcome.hash;
        parameters = std::move(fewer);
        progress("fails without " + name);
    }
}

void lower(const Scenario& scenario, u64 seed, ScenarioParameters& parameters, const Scenario::Shrinkable& what,
           const std::function<void(std::string_view)>& progress) {
    u64 fails_at = parameters.number(what.name, what.normal);
    u64 passes_below = what.least;
    // A failure need not be monotone in a size; halving finds a small one soon.
    while (passes_below < fails_at) {
        u64 const middle = passes_below + (fails_at - passes_below) / 2;
        ScenarioParameters fewer = parameters;
        fewer.values[what.name] = std::to_string(middle);
        if (still_fails(scenario, seed, fewer)) {
            parameters = std::move(fewer);
            fails_at = middle;
            progress("fails with " + what.name + "=" + std::to_string(middle));
        } else {
            passes_below = middle + 1;
        }
    }
}

}  // namespace

ScenarioParameters shrink_scenario(const Scenario& scenario, u64 seed, ScenarioParameters parameters,
                                   const std::function<void(std::string_view)>& progress) {
    drop_faults(scenario, seed, parameters, progress);
    for (auto const& what : scenario.shrinkable) lower(scenario, seed, parameters, what, progress);
    return parameters;
}

}  // namespace corelet::sim
