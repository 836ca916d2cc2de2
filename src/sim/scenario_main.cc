#include <fmt/format.h>
#include <malloc.h>

#include <charconv>
#include <cstdio>

#include "base/hash.h"
#include "sim/scenario.h"

namespace corelet::sim {

namespace {

struct Command {
    std::string program;
    std::string scenario;
    std::vector<std::pair<u64, u64>> seeds{{1, 1}};  // from, to and with
    u64 twice_every = 0;                             // seeds that are multiples of it run twice; 0: none
    bool shrink = false;
    bool list = false;
    std::optional<VirtualTime> trace_from;
    ScenarioParameters parameters;
    [[nodiscard]] bool runs_twice(u64 seed) const { return twice_every != 0 && seed % twice_every == 0; }
};

void say(const std::string& line) {
    std::fputs((line + "\n").c_str(), stdout);
    std::fflush(stdout);
}

std::optional<u64> parse_number(std::string_view text) {
    u64 value = 0;
    auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// N, A..B, or several of these with commas between them.
Result<void> parse_seeds(std::string_view text, Command& command) {
    command.seeds.clear();
    for (usize at = 0; at != std::string_view::npos;) {
        usize const comma = text.find(',', at);
        std::string_view const part = text.substr(at, comma - at);
        at = comma == std::string_view::npos ? comma : comma + 1;
        auto const dots = part.find("..");
        auto const first = parse_number(part.substr(0, dots));
        auto const last = dots == std::string_view::npos ? first : parse_number(part.substr(dots + 2));
        if (!first || !last || *last < *first)
            return fail(Code::kInvalid, "'" + std::string(text) + "' is neither N nor A..B, nor a list of these");
        command.seeds.emplace_back(*first, *last);
    }
    return {};
}

// Seconds, with up to nine decimals.
Result<VirtualTime> parse_time(std::string_view text) {
    auto const dot = text.find('.');
    auto const seconds = parse_number(text.substr(0, dot));
    std::string decimals(dot == std::string_view::npos ? "" : text.substr(dot + 1));
    decimals.resize(9, '0');
    auto const ns = parse_number(decimals);
    if (!seconds || !ns) return fail(Code::kInvalid, "'" + std::string(text) + "' is not a time in seconds");
    return VirtualTime{static_cast<i64>(*seconds * 1'000'000'000 + *ns)};
}

Result<void> take_value(Command& command, std::string_view option, std::string_view value) {
    if (option == "--seed" || option == "--seeds") return parse_seeds(value, command);
    if (option == "--trace-from") {
        TRY(command.trace_from, parse_time(value));
        return {};
    }
    if (option == "--twice-every") {
        auto const every = parse_number(value);
        if (!every || *every == 0)
            return fail(Code::kInvalid, "--twice-every takes a number from 1 on, not '" + std::string(value) + "'");
        command.twice_every = *every;
        return {};
    }
    command.scenario = value;
    return {};
}

Result<Command> parse_command(int argc, char** argv) {
    Command command;
    command.program = argv[0];
    for (int i = 1; i < argc; ++i) {
        std::string_view const word = argv[i];
        if (word == "--twice") {
            command.twice_every = 1;
        } else if (word == "--shrink") {
            command.shrink = true;
        } else if (word == "--list") {
            command.list = true;
        } else if (word == "--seed" || word == "--seeds" || word == "--scenario" || word == "--trace-from" ||
                   word == "--twice-every") {
            if (++i == argc) return fail(Code::kInvalid, std::string(word) + " needs a value");
            TRY_VOID(take_value(command, word, argv[i]));
        } else if (auto const equals = word.find('='); !word.starts_with("-") && equals != std::string_view::npos) {
            command.parameters.values[std::string(word.substr(0, equals))] = word.substr(equals + 1);
        } else {
            return fail(Code::kInvalid, "'" + std::string(word) + "' is not understood");
        }
    }
    return command;
}

Result<std::string> read_text(const std::string& path) {
    std::FILE* const file = std::fopen(path.c_str(), "rb");
    if (!file) return fail(Code::kNotFound, "cannot read " + path);
    std::string text;
    std::array<char, 4096> part;
    while (usize const got = std::fread(part.data(), 1, part.size(), file)) text.append(part.data(), got);
    std::fclose(file);
    return text;
}

// A name, or a file of parameters whose `scenario` is the name. What the command line says counts more.
Result<const Scenario*> choose(Command& command, const ScenarioRegistry& registry) {
    if (registry.all().empty()) return fail(Code::kNotFound, "there are no scenarios");
    if (command.scenario.empty()) return &registry.all().front();
    if (const Scenario* found = registry.find(command.scenario)) return found;
    if (command.scenario.find_first_of("/.") == std::string::npos)
        return fail(Code::kNotFound, "no scenario is called '" + command.scenario + "'; --list shows them");
    TRY(std::string const text, read_text(command.scenario));
    TRY(ScenarioParameters parameters, ScenarioParameters::parse(text));
    std::string const name = parameters.text("scenario", registry.all().front().name);
    parameters.values.erase("scenario");
    const Scenario* const found = registry.find(name);
    if (!found) return fail(Code::kNotFound, command.scenario + ": no scenario is called '" + name + "'");
    for (auto const& [key, value] : command.parameters.values) parameters.values[key] = value;
    command.parameters = std::move(parameters);
    return found;
}

std::string reproduction(const Command& command, const Scenario& scenario, u64 seed,
                         const ScenarioParameters& parameters) {
    return fmt::format("reproduce: {} --scenario {} --seed {}{}{}", command.program, scenario.name, seed,
                       command.runs_twice(seed) ? " --twice" : "", parameters.arguments());
}

void report_failure(const Command& command, const Scenario& scenario, const ScenarioOutcome& outcome) {
    for (std::string const& line : outcome.recent_log) say("  log " + line);
    say(fmt::format("FAILED seed {}: {}", outcome.seed, outcome.failure));
    say(reproduction(command, scenario, outcome.seed, command.parameters));
    say(fmt::format("its last second: the same with --trace-from {}",
                    std::max<i64>(0, outcome.ended.ns / 1'000'000'000 - 1)));
    if (!command.shrink) return;
    auto const smallest = shrink_scenario(scenario, outcome.seed, command.parameters,
                                          [](std::string_view line) { say("shrink: " + std::string(line)); });
    say(reproduction(command, scenario, outcome.seed, smallest));
}

ScenarioOutcome run_seed(const Command& command, const Scenario& scenario, u64 seed) {
    RunOptions options;
    options.trace_from = command.trace_from;
    options.sink = [](std::string_view line) { say(std::string(line)); };
    // First, so that a run which aborts has been named.
    std::fputs(fmt::format("seed {} scenario {}{}", seed, scenario.name, command.parameters.arguments()).c_str(),
               stdout);
    std::fputs(command.trace_from ? "\n" : "", stdout);
    std::fflush(stdout);
    ScenarioOutcome outcome = run_scenario(scenario, seed, command.parameters, options);
    if (command.runs_twice(seed)) {
        auto const difference = find_difference(outcome, run_scenario(scenario, seed, command.parameters));
        if (difference && outcome.ok()) outcome.failure = *difference;
    }
    say(fmt::format(": {} virtual ms, {} events, {} faults, hash {}", outcome.ended.ns / 1'000'000, outcome.events,
                    outcome.stats.all_faults(), hex64(outcome.hash)));
    return outcome;
}

// Runs take and give back the same large buffers again and again: kept in the process, they cost no page faults.
void keep_memory() {
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, INT32_MAX);
    mallopt(M_TOP_PAD, 64 << 20);
}

// What the seeds of a sweep come to together.
struct Sweep {
    Stats stats;
    u64 seeds = 0;
    u64 repeated = 0;
    u64 failed = 0;
    u64 virtual_ms = 0;
    u64 hash = 0;

    void add(const ScenarioOutcome& outcome) {
        stats.add(outcome.stats);
        virtual_ms += static_cast<u64>(outcome.ended.ns / 1'000'000);
        hash = seeds == 0 ? outcome.hash : hash64(hash, outcome.hash);
        ++seeds;
        failed += outcome.ok() ? 0 : 1;
    }
};

int run_all(const Command& command, const Scenario& scenario) {
    Sweep sweep;
    for (auto const& [first, last] : command.seeds)
        for (u64 seed = first; seed <= last; ++seed) {
            ScenarioOutcome const outcome = run_seed(command, scenario, seed);
            sweep.add(outcome);
            if (command.runs_twice(seed)) ++sweep.repeated;
            if (!outcome.ok()) report_failure(command, scenario, outcome);
        }
    say(fmt::format("coverage seeds={} twice={} failed={} virtual-seconds={} {}", sweep.seeds, sweep.repeated,
                    sweep.failed, sweep.virtual_ms / 1000, sweep.stats.line()));
    say("hash " + hex64(sweep.hash));
    return sweep.failed == 0 ? 0 : 1;
}

}  // namespace

int scenario_main(int argc, char** argv, const ScenarioRegistry& registry) {
    auto command = parse_command(argc, argv);
    if (command && command->list) {
        for (const Scenario& scenario : registry.all())
            say(fmt::format("{:20} {}", scenario.name, scenario.summary));
        return 0;
    }
    Result<const Scenario*> scenario = nullptr;
    if (command) scenario = choose(*command, registry);
    if (!command || !scenario) {
        Error const& error = command ? scenario.error() : command.error();
        std::fputs((error.message +
                    "\nusage: [--scenario NAME|FILE] [--seed N | --seeds A..B,C,...] [--twice | --twice-every N]"
                    " [--trace-from SECONDS] [--shrink] [--list] [KEY=VALUE ...]\n")
                       .c_str(),
                   stderr);
        return 2;
    }
    keep_memory();
    return run_all(*command, **scenario);
}

}  // namespace corelet::sim
