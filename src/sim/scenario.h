// Scenarios: what a simulated world is put through, by name. A scenario builds nodes, drives work and faults,
// judges, and returns an error when a promise was broken.
#pragma once

#include "sim/fault_plan.h"
#include "sim/world.h"

namespace corelet::sim {

// `key=value` pairs from the command line or a file.
struct ScenarioParameters {
    std::map<std::string, std::string, std::less<>> values;

    [[nodiscard]] u64 number(std::string_view name, u64 otherwise) const;
    [[nodiscard]] std::string text(std::string_view name, std::string otherwise = {}) const;
    // Names with commas between them.
    [[nodiscard]] std::vector<std::string> list(std::string_view name) const;
    // Lines of `key = value`; # begins a comment. kInvalid names the line.
    [[nodiscard]] static Result<ScenarioParameters> parse(std::string_view text);
    // `menu` cut down by the parameters `faults` (these only) and `without` (not these): lists of names with
    // commas.
    [[nodiscard]] Result<FaultMenu> restrict_menu(FaultMenu menu) const;
    // As arguments that repeat them.
    [[nodiscard]] std::string arguments() const;
};

struct Scenario {
    std::string name;
    std::string summary;  // one line
    std::function<Result<void>(World&, const ScenarioParameters&)> run;
    // Of the world it runs in; default: drawn from the seed.
    std::function<WorldOptions(u64 seed, const ScenarioParameters&)> options;
    // Parameters that may be made smaller in search of the smallest run that still fails, with their least value
    // and the value they have when nothing is said.
    struct Shrinkable {
        std::string name;
        u64 least = 1;
        u64 normal = 1;
    };
    std::vector<Shrinkable> shrinkable;
    // What the parameter `without` may name: dropped first in that search.
    std::vector<std::string> droppable;
};

// Worlds differ in window sizes, latencies, and how reads and writes are cut up.
[[nodiscard]] WorldOptions draw_world_options(u64 seed);

class ScenarioRegistry {
  public:
    // The first one added is the default.
    void add(Scenario scenario);
    [[nodiscard]] const Scenario* find(std::string_view name) const;
    [[nodiscard]] const std::vector<Scenario>& all() const { return scenarios_; }

  private:
    std::vector<Scenario> scenarios_;
};

struct ScenarioOutcome {
    u64 seed = 0;
    u64 hash = 0;
    std::string failure;  // empty: it went well
    Stats stats;
    VirtualTime ended;
    u64 events = 0;
    std::vector<Trace::Block> blocks;
    std::vector<std::string> recent_log;
    [[nodiscard]] bool ok() const { return failure.empty(); }
};

struct RunOptions {
    std::optional<VirtualTime> trace_from;
    Trace::Sink sink;
};
[[nodiscard]] ScenarioOutcome run_scenario(const Scenario& scenario, u64 seed, const ScenarioParameters& parameters,
                                           const RunOptions& options = {});
// Runs it again; what differs, if anything does.
[[nodiscard]] std::optional<std::string> find_difference(const ScenarioOutcome& first,
                                                         const ScenarioOutcome& second);
// The parameters of the smallest run found that still fails: fewer kinds of faults, then smaller numbers.
[[nodiscard]] ScenarioParameters shrink_scenario(const Scenario& scenario, u64 seed, ScenarioParameters parameters,
                                                 const std::function<void(std::string_view)>& progress);

// The program `corelet-sim`: --scenario NAME|FILE, --seed N or --seeds A..B,C,..., --twice or --twice-every N,
// --trace-from SECONDS,
// --shrink, --list, KEY=VALUE parameters. The last line it prints is `hash <hex>`. Returns 0 if all went well, 1 if
// not, 2 for a bad command.
int scenario_main(int argc, char** argv, const ScenarioRegistry& registry);

}  // namespace corelet::sim
